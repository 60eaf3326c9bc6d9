"""How much each task counts in a method: equally, or by a preference vector."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

SCALES = ("mean", "sum")


def equal_weights(present: jax.Array, scale: str) -> jax.Array:
    """Returns 1/m (``'mean'``) or 1 (``'sum'``) for the m tasks present ``[T]``, 0 elsewhere."""
    ones = present.astype(float)
    return ones / jnp.maximum(jnp.sum(ones), 1) if scale == "mean" else ones


def finite_vector(numbers: Sequence[float] | np.ndarray, name: str) -> np.ndarray:
    """Returns a number for each task as float64 ``[T]``. `name` is for errors.

    Raises:
      TypeError: not numbers.
      ValueError: not a vector of one number or more, or not finite.
    """
    try:
        vector = np.array(numbers, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a sequence of numbers, got {numbers!r}") from error
    if vector.ndim != 1 or not vector.size:
        raise ValueError(f"{name} must be a vector of one number or more, got {numbers!r}")
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} must be finite, got {numbers!r}")
    return vector


def check_preference(
    pref: Sequence[float] | np.ndarray | None, *, zero_allowed: bool = True, name: str = "pref"
) -> np.ndarray | None:
    """Returns a preference vector as float64 ``[T]``; None stays None. `name` is for errors.

    Raises:
      TypeError: not numbers.
      ValueError: not a vector, not finite, a number below 0 (or 0 unless allowed), or all 0.
    """
    if pref is None:
        return None
    vector = finite_vector(pref, name)
    if (vector < 0).any() or not vector.any():
        raise ValueError(f"{name} must be positive, got {pref!r}")
    if not zero_allowed and not vector.all():
        raise ValueError(f"{name} must have no zero for this method, got {pref!r}")
    return vector


def check_length(pref: np.ndarray | None, num_tasks: int, name: str = "pref") -> None:
    """Raises ValueError unless `pref` has a number for each task. For `init`."""
    if pref is not None and pref.size != num_tasks:
        raise ValueError(f"{name}: {pref.size} given for {num_tasks} tasks")


def stateless(pref: np.ndarray | None, name: str = "pref") -> Callable[[int], tuple[()]]:
    """Returns the `init` of a method without state, which checks the length of its preference."""

    def init(num_tasks: int) -> tuple[()]:
        check_length(pref, num_tasks, name)
        return ()

    return init


def preference(pref: np.ndarray | None, present: jax.Array, scale: str, dtype) -> jax.Array:
    """Returns the preference ``[T]`` among the tasks present, 0 for the others.

    None is 1/m each (``'mean'``) or 1 each (``'sum'``). A vector keeps its sum when tasks are
    absent, so that a uniform one stays equal to None.

    Raises:
      ValueError: another number of tasks.
    """
    if pref is None:
        return equal_weights(present, scale).astype(dtype)
    check_length(pref, present.size)
    full = jnp.asarray(pref, dtype)
    partial = jnp.where(present, full, 0)
    partial_sum = jnp.sum(partial)
    total = jnp.asarray(pref.sum(), dtype)
    rescaled = partial * (total / jnp.where(partial_sum > 0, partial_sum, 1))
    return jnp.where(jnp.all(present), full, rescaled)


def log_preference(pref: np.ndarray | None, present: jax.Array, dtype) -> jax.Array | None:
    """Returns logs ``[T]`` of a preference scaled to mean 1 over the tasks present, 0 elsewhere.

    None stays None, and a uniform preference is 0 exactly.

    Raises:
      ValueError: another number of tasks.
    """
    if pref is None:
        return None
    check_length(pref, present.size)
    shares = jnp.where(present, jnp.asarray(pref / pref.max(), dtype), 0)
    return jnp.log(jnp.where(present, shares * (jnp.sum(present) / jnp.sum(shares)), 1))

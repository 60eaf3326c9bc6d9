"""The part that all weightings share: checks, absent tasks, numbers that are not finite."""

import operator
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.solvers import unit_gramian
from mtljax.weighting.common.contract import SIGNALS, Weighting


def guard(
    init: Callable[[int], Any],
    update: Callable[..., tuple[jax.Array, Any]],
    *,
    fallback: Callable[[Any, jax.Array], jax.Array],
    requires: Iterable[str] = ("losses",),
    per_task: Iterable[str] = (),
    ahead: bool = False,
) -> Weighting:
    """Makes a `Weighting` of the bare formulas of a method.

    Every factory of this package ends in this call, which gives all methods the same answers:

    | input | weights | state |
    |---|---|---|
    | a task is absent (`mask` false) | 0 for it, the method on the others | its part unchanged |
    | all tasks are absent | 0 | unchanged |
    | a number of a present task is NaN or infinite | `fallback`, 0 for that task | unchanged |
    | wrong shape, missing signal | ValueError while tracing | |
    | unknown signal, mask not boolean, complex number | TypeError while tracing | |

    Weights and states are constants to differentiation: ``sum(weights * losses)`` has the
    gradient ``sum_i w_i g_i`` even if the weights were computed from the same losses.

    Args:
      init: ``(num_tasks) -> state``.
      update: ``(losses, state, *, present, **signals) -> (weights, state)``. It gets just the
        signals in `requires`, in float32 or wider, finite, with zeros in the rows and columns
        of absent tasks; `present [T]` is boolean. ``gramian`` arrives as a
        `solvers.UnitGramian`, ``gramian_diagonal`` as the norms of the gradients, ``norms [T]``.
        What it returns for absent tasks is ignored.
      fallback: ``(state, counted) -> weights [T]``, the trivial weights of the tasks in
        `counted [T]`, boolean, used when a number is not finite.
      requires: names out of `SIGNALS`.
      per_task: the fields of the state (a NamedTuple) whose leaves have a leading task axis.
      ahead: whether the losses change the state alone, not the weights of their own step.

    Returns:
      The weighting.

    Raises:
      ValueError: a name in `requires` is no signal.
    """
    names = frozenset(requires)
    if names - SIGNALS.keys():
        raise ValueError(f"requires: {sorted(names - SIGNALS.keys())} not in {sorted(SIGNALS)}")
    task_fields = tuple(per_task)

    def guarded_init(num_tasks: int) -> Any:
        if operator.index(num_tasks) < 1:
            raise ValueError(f"num_tasks must be 1 or more, got {num_tasks}")
        return init(operator.index(num_tasks))

    def guarded_update(
        losses: ArrayLike,
        state: Any,
        *,
        gramian: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        row_scale: ArrayLike | None = None,
        **signals: ArrayLike,
    ) -> tuple[jax.Array, Any]:
        if gramian is not None:
            signals["gramian"] = gramian
        values, present = _read({**signals, "losses": losses}, names, mask)
        num_tasks = present.shape[0]
        _check_state(state, task_fields, num_tasks)

        # The method sees finite numbers only; what it makes of replaced ones is discarded below.
        finite = finite_tasks(**values)
        entries = [jnp.all(jnp.isfinite(value)) for value in values.values()]
        usable = jnp.all(jnp.stack(entries)) & jnp.any(present)
        clean: dict[str, Any] = {
            name: jnp.where(jnp.isfinite(value), value, 0) for name, value in values.items()
        }
        clean_losses = clean.pop("losses")
        scale = _read_scale(row_scale, num_tasks)
        if "gramian" in clean:
            clean["gramian"] = unit_gramian(clean["gramian"], scale)
        if "gramian_diagonal" in clean:
            clean["norms"] = jnp.sqrt(jnp.maximum(clean.pop("gramian_diagonal"), 0)) * scale
        weights, new = update(clean_losses, state, present=present, **clean)

        counted = present & finite
        weights = jnp.where(usable, weights, fallback(state, counted))
        weights = jnp.where(counted, weights, 0).astype(clean_losses.dtype)
        # An absent task keeps its entries of the state, and a step that is not usable all of it.
        for field in task_fields:
            kept = jax.tree.map(
                lambda n, o: jnp.where(
                    jnp.expand_dims(present, tuple(range(1, jnp.ndim(o)))), n, o
                ),
                getattr(new, field),
                getattr(state, field),
            )
            new = new._replace(**{field: kept})
        new = jax.tree.map(lambda n, o: jnp.where(usable, n, o).astype(o.dtype), new, state)
        return jax.lax.stop_gradient((weights, new))

    return Weighting(guarded_init, guarded_update, names, ahead)


def finite_tasks(losses: ArrayLike, **signals: ArrayLike) -> jax.Array:
    """Returns which tasks have finite numbers: a flag for the metrics of a step.

    A task counts as finite if its loss is, and its entry of every other signal: the diagonal
    entry of a matrix, since one NaN gradient makes NaN of all its products with others.

    Args:
      losses: ``[T]``.
      **signals: by name, ``[T]`` or ``[T, T]``.

    Returns:
      Boolean ``[T]``.

    >>> finite_tasks(jnp.array([1.0, jnp.nan]))
    Array([ True, False], dtype=bool)
    """
    finite = jnp.isfinite(losses)
    for value in signals.values():
        entries = jnp.diagonal(value) if jnp.ndim(value) == 2 else value
        finite = finite & jnp.isfinite(entries)
    return finite


def _read(
    signals_given: dict[str, ArrayLike], names: frozenset[str], mask: ArrayLike | None
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Returns losses and the required signals, zero for absent tasks, and who is present."""
    if signals_given.keys() - SIGNALS.keys():
        unknown = sorted(signals_given.keys() - SIGNALS.keys())
        raise TypeError(f"unknown signals {unknown}: there are {sorted(SIGNALS)}")
    if names - signals_given.keys():
        raise ValueError(f"missing signals {sorted(names - signals_given.keys())}")
    num_tasks = jnp.shape(signals_given["losses"])
    if len(num_tasks) != 1 or not num_tasks[0]:
        raise ValueError(f"losses must have shape [T], T >= 1, got {num_tasks}")
    present = jnp.ones(num_tasks, bool) if mask is None else jnp.asarray(mask)
    if present.dtype != jnp.bool_:
        raise TypeError(f"mask must be boolean, got {present.dtype}")
    values = {}
    for name in sorted(names | {"losses"}):
        value = jnp.asarray(signals_given[name])
        if jnp.issubdtype(value.dtype, jnp.complexfloating):
            raise TypeError(f"{name} must be real, got {value.dtype}")
        if value.shape != num_tasks * SIGNALS[name]:
            expected = num_tasks * SIGNALS[name]
            raise ValueError(f"{name} must have shape {expected}, got {value.shape}")
        values[name] = value.astype(jnp.promote_types(value.dtype, jnp.float32))
    if present.shape != num_tasks:
        raise ValueError(f"mask must have shape {num_tasks} as losses, got {present.shape}")
    for name, value in values.items():
        both = present[:, None] & present if value.ndim == 2 else present
        values[name] = jax.lax.stop_gradient(jnp.where(both, value, 0))
    return values, present


def _read_scale(row_scale: ArrayLike | None, num_tasks: int) -> jax.Array | float:
    if row_scale is None:
        return 1.0
    if jnp.shape(row_scale) != (num_tasks,):
        raise ValueError(f"row_scale must have shape ({num_tasks},), got {jnp.shape(row_scale)}")
    return jax.lax.stop_gradient(jnp.asarray(row_scale))


def _check_state(state: Any, task_fields: tuple[str, ...], num_tasks: int) -> None:
    for field in task_fields:
        for leaf in jax.tree.leaves(getattr(state, field)):
            if jnp.shape(leaf)[:1] != (num_tasks,):
                raise ValueError(
                    f"losses has {num_tasks} tasks, but state.{field} has shape {jnp.shape(leaf)}"
                )

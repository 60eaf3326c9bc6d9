"""The rows of per-task gradients: which of them count, and what is kept beside them."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.gradients import task_count


def counted_tasks(
    task_grads: Any, num_tasks: int, losses: ArrayLike | None, mask: ArrayLike | None
) -> jax.Array:
    """Tells which tasks take part in a step.

    They are present, and neither their gradient nor their loss has a NaN or an infinity.

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``.
      num_tasks: T.
      losses: ``[T]``, or None where they are not known.
      mask: ``[T]``, boolean, or None where all are present.

    Returns:
      Boolean ``[T]``.

    Raises:
      TypeError: the mask is not boolean, or a leaf not floating point.
      ValueError: another number of tasks.
    """
    if task_count(task_grads) != num_tasks:
        raise ValueError(f"task_grads has {task_count(task_grads)} tasks, num_tasks is {num_tasks}")
    counted = jnp.ones(num_tasks, bool) if mask is None else jnp.asarray(mask)
    if counted.dtype != jnp.bool_:
        raise TypeError(f"mask must be boolean, got {counted.dtype}")
    for name, value in (("mask", counted), ("losses", losses)):
        if value is not None and jnp.shape(value) != (num_tasks,):
            raise ValueError(f"{name} must have shape ({num_tasks},), got {jnp.shape(value)}")
    if losses is not None:
        counted = counted & jnp.isfinite(losses)
    for leaf in map(jnp.asarray, jax.tree.leaves(task_grads)):
        # The largest size is finite if all are; on a CPU that is faster than to look at each.
        counted = counted & jnp.isfinite(jnp.max(jnp.abs(leaf), range(1, leaf.ndim), initial=0))
    return counted


def per_row(values: jax.Array, leaf: jax.Array) -> jax.Array:
    """Returns ``[T]`` in the shape in which it multiplies a leaf ``[T, *param]``."""
    return values.reshape((-1,) + (1,) * (leaf.ndim - 1))


def wide_rows(counted: jax.Array, leaf: ArrayLike) -> jax.Array:
    """Returns a leaf in float32 or wider, with zeros in the rows that do not count."""
    rows = jnp.asarray(leaf)
    rows = rows.astype(jnp.promote_types(rows.dtype, jnp.float32))
    return jnp.where(per_row(counted, rows), rows, 0)


def zero_rows(params: Any, num_tasks: int) -> Any:
    """Returns zeros ``[T, *param]`` in float32 or wider, laid out over devices as `params` are."""

    def zeros(param: ArrayLike) -> jax.Array:
        dtype = jnp.promote_types(jnp.result_type(param), jnp.float32)
        return jnp.broadcast_to(jnp.zeros_like(param, dtype), (num_tasks, *jnp.shape(param)))

    return jax.tree.map(zeros, params)


def as_grads(direction: Any, task_grads: Any) -> Any:
    """Returns a direction in the dtypes of the gradients."""
    return jax.tree.map(lambda d, g: d.astype(jnp.result_type(g)), direction, task_grads)

"""Leaves with a leading axis of tasks: per-task gradients, and states of their shape."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def per_task(values: jax.Array, leaf: jax.Array) -> jax.Array:
    """Returns ``[T]`` in the shape in which it multiplies a leaf ``[T, *param]``."""
    return values.reshape((-1,) + (1,) * (leaf.ndim - 1))


def counted_gradients(counted: jax.Array, leaf: ArrayLike) -> jax.Array:
    """Returns a leaf in float32 or wider, zero for the tasks that do not count.

    Args:
      counted: ``[T]``, boolean.
      leaf: ``[T, *param]``.

    Returns:
      ``[T, *param]``.
    """
    gradients = jnp.asarray(leaf)
    gradients = gradients.astype(jnp.promote_types(gradients.dtype, jnp.float32))
    return jnp.where(per_task(counted, gradients), gradients, 0)


def zeros_per_task(params: Any, num_tasks: int) -> Any:
    """Returns zeros ``[T, *param]`` in float32 or wider, laid out over devices as `params` are."""

    def zeros(param: ArrayLike) -> jax.Array:
        dtype = jnp.promote_types(jnp.result_type(param), jnp.float32)
        return jnp.broadcast_to(jnp.zeros_like(param, dtype), (num_tasks, *jnp.shape(param)))

    return jax.tree.map(zeros, params)

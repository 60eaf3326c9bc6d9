"""The weighted sum of per-task gradients."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.gradients.stacked import task_count

Tree = TypeVar("Tree", bound=Any)


def combine(weights: ArrayLike, task_grads: Tree) -> Tree:
    """Direction ``sum_i w_i g_i``, leaf by leaf, accumulated in float32 or wider.

    A task of weight 0 is left out, even where its gradient is NaN or infinite.

    Args:
      weights: ``[T]``.
      task_grads: a tree of floating point leaves ``[T, *param]``.

    Returns:
      The same tree with leaves ``[*param]`` of the same dtypes.

    Raises:
      TypeError: a leaf is not real floating point.
      ValueError: shapes do not fit.

    >>> combine(jnp.array([1.0, 0.5]), {"a": jnp.array([[1.0, 0.0], [2.0, 4.0]])})
    {'a': Array([2., 2.], dtype=float32)}
    """
    num_tasks = task_count(task_grads)
    if jnp.shape(weights) != (num_tasks,):
        raise ValueError(f"weights must have shape ({num_tasks},), got {jnp.shape(weights)}")

    def weighted_sum(leaf: jax.Array) -> jax.Array:
        dtype = jnp.promote_types(leaf.dtype, jnp.float32)
        # A product and a sum, which XLA fuses to one pass over the leaf, `where` included.
        shares = jnp.asarray(weights, dtype).reshape((-1,) + (1,) * (leaf.ndim - 1))
        rows = jnp.where(shares != 0, shares * leaf.astype(dtype), 0)
        return jnp.sum(rows, axis=0).astype(leaf.dtype)

    return jax.tree.map(lambda leaf: weighted_sum(jnp.asarray(leaf)), task_grads)

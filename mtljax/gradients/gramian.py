"""Inner products of per-task gradients."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.stacked import task_count


def gramian(task_grads: Any) -> jax.Array:
    """Inner products ``<g_i, g_j>`` of the gradients of T tasks.

    Leaf by leaf, each with its own contraction over all parameter axes: nothing is flattened or
    concatenated, so sharded leaves stay where they are and only ``[T, T]`` is summed. Leaves of
    lower precision are multiplied exactly and accumulated in float32.

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``.

    Returns:
      ``[T, T]``, symmetric, float32 (float64 if a leaf is).

    Raises:
      TypeError: a leaf is not real floating point.
      ValueError: no leaves, a scalar leaf, or leaves that differ in T.

    >>> gramian({"a": jnp.array([[1.0, 0.0], [1.0, 1.0]]), "b": jnp.array([2.0, 0.0])})
    Array([[5., 1.],
           [1., 2.]], dtype=float32)
    """
    num_tasks = task_count(task_grads)
    total = jnp.zeros((num_tasks, num_tasks), jnp.float32)
    for leaf in map(jnp.asarray, jax.tree.leaves(task_grads)):
        axes = tuple(range(1, leaf.ndim))
        total = total + jax.lax.dot_general(
            leaf,
            leaf,
            ((axes, axes), ((), ())),
            precision=jax.lax.Precision.HIGHEST,
            preferred_element_type=jnp.promote_types(leaf.dtype, jnp.float32),
        )
    return (total + total.T) / 2


def gramian_diagonal(task_grads: Any) -> jax.Array:
    """Squared norms ``<g_i, g_i>``: the diagonal of `gramian` without the other products.

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``.

    Returns:
      ``[T]``, float32 (float64 if a leaf is).

    Raises:
      TypeError: a leaf is not real floating point.
      ValueError: no leaves, a scalar leaf, or leaves that differ in T.

    >>> gramian_diagonal([jnp.array([[1.0, 0.0], [1.0, 1.0]]), jnp.array([2.0, 0.0])])
    Array([5., 2.], dtype=float32)
    """
    total = jnp.zeros(task_count(task_grads), jnp.float32)
    for leaf in map(jnp.asarray, jax.tree.leaves(task_grads)):
        wide = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
        total = total + jnp.sum(jnp.square(wide), axis=range(1, leaf.ndim))
    return total

"""The weighted sum of per-task gradients."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from mtljax.gradients.leaf_groups import Labels, leaf_groups
from mtljax.gradients.row_gradients import RowGradients, dense_sum, is_rows
from mtljax.gradients.task_axis import task_count

_MAX_UNROLLED_TASKS = 8
"""Tasks, at most, whose gradients one unrolled pass adds on a CPU; a loop adds those of more."""

_SMALL_SIZE = 2**16
"""Elements of the largest leaf that a CPU sums like other devices."""


def combine(
    weights: ArrayLike | Mapping[Any, ArrayLike], task_grads: Any, *, labels: Labels = None
) -> Any:
    """Direction ``sum_i w_i g_i``, leaf by leaf, accumulated in float32 or wider.

    A task of weight 0 is left out, even where its gradient is NaN or infinite.

    Args:
      weights: ``[T]``, or a dictionary of such by label.
      task_grads: a tree of floating point leaves ``[T, *param]``, or `RowGradients`.
      labels: the labels of the leaves, where weights are given by label: see `group_gramians`.

    Returns:
      The same tree with leaves ``[*param]`` of the same dtypes; a `RowGradients` becomes the dense
      gradient ``[V, *row]`` of its table.

    Raises:
      TypeError: a leaf is not real floating point.
      ValueError: shapes do not fit, or labels are not those of the weights.

    >>> combine(jnp.array([1.0, 0.5]), {"a": jnp.array([[1.0, 0.0], [2.0, 4.0]])})
    {'a': Array([2., 2.], dtype=float32)}
    >>> grads = {"a": jnp.array([[1.0], [2.0]]), "b": jnp.array([3.0, 4.0])}
    >>> combine({"a": [1.0, 0.0], "b": [0.0, 1.0]}, grads, labels=lambda path: path)
    {'a': Array([1.], dtype=float32), 'b': Array(4., dtype=float32)}
    """
    num_tasks = task_count(task_grads)
    leaves, structure = jax.tree.flatten(task_grads, is_leaf=is_rows)
    if isinstance(weights, Mapping):
        if labels is None:
            raise ValueError("weights by label want the labels of the leaves")
        groups = leaf_groups(labels, task_grads)
        if groups.keys() != weights.keys():
            raise ValueError(
                f"labels {sorted(map(str, groups))} differ from those of the weights "
                f"{sorted(map(str, weights))}"
            )
        parts = [(f" of {label!r}", weights[label], groups[label]) for label in groups]
    else:
        if labels is not None:
            raise ValueError("labels want weights by label")
        parts = [("", weights, range(len(leaves)))]
    direction: list[Any] = list(leaves)
    for name, part_weights, indices in parts:
        vector = jnp.asarray(part_weights)
        if vector.shape != (num_tasks,):
            raise ValueError(f"weights{name} must have shape ({num_tasks},), got {vector.shape}")
        for i in indices:
            direction[i] = _weighted_sum(vector, leaves[i])
    return structure.unflatten(direction)


def _weighted_sum(weights: jax.Array, leaf: Any) -> jax.Array:
    if isinstance(leaf, RowGradients):
        total = dense_sum(weights, leaf)
        if leaf.dense is not None:
            of_dense = weights[np.array(leaf.dense_tasks)]
            total = total + _weighted_sum(of_dense, leaf.dense).astype(total.dtype)
        return total.astype(leaf.values.dtype)
    leaf = jnp.asarray(leaf)
    weights = weights.astype(jnp.promote_types(leaf.dtype, jnp.float32))
    total = jax.lax.platform_dependent(weights, leaf, cpu=_task_by_task, default=_fused)
    return total.astype(leaf.dtype)


def _fused(weights: jax.Array, leaf: jax.Array) -> jax.Array:
    # A product and a sum, which XLA fuses to one pass over the leaf, `where` included. `where`, not
    # the product alone: 0 times infinity is NaN.
    weights = weights.reshape((-1,) + (1,) * (leaf.ndim - 1))
    return jnp.sum(jnp.where(weights != 0, weights * leaf.astype(weights.dtype), 0), axis=0)


def _task_by_task(weights: jax.Array, leaf: jax.Array) -> jax.Array:
    # XLA's CPU code for a sum over the leading axis goes through memory in strides, 8 times slower.
    if leaf.size <= _SMALL_SIZE:
        return _fused(weights, leaf)

    def add(i: Any, total: jax.Array) -> jax.Array:
        return total + jnp.where(weights[i] != 0, weights[i] * leaf[i].astype(weights.dtype), 0)

    count = leaf.shape[0]
    total = jnp.zeros(leaf.shape[1:], weights.dtype)
    if count <= _MAX_UNROLLED_TASKS:
        for i in range(count):
            total = add(i, total)
        return total
    # A loop, since many tasks in one pass take long to compile and are hardly faster.
    return jax.lax.fori_loop(0, count, add, total)

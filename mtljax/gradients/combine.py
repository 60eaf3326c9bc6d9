"""The weighted sum of per-task gradients."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.gradients.leaf_groups import Labels, leaf_groups
from mtljax.gradients.row_gradients import RowGradients, dense_sum, is_rows
from mtljax.gradients.stacked import task_count

_UNROLLED = 8
"""Rows that one pass over a leaf adds on a CPU; of more rows, one."""

_SMALL = 2**16
"""Numbers of a leaf that need no such care."""


def combine(
    weights: ArrayLike | Mapping[Any, ArrayLike], task_grads: Any, *, labels: Labels = None
) -> Any:
    """Direction ``sum_i w_i g_i``, leaf by leaf, accumulated in float32 or wider.

    A task of weight 0 is left out, even where its gradient is NaN or infinite.

    Args:
      weights: ``[T]``, or by label.
      task_grads: a tree of floating point leaves ``[T, *param]``, or `RowGradients`.
      labels: where weights are given by label, those of the leaves: see `group_gramians`.

    Returns:
      The same tree with leaves ``[*param]`` of the same dtypes; of `RowGradients`, ``[V, *row]``.

    Raises:
      TypeError: a leaf is not real floating point.
      ValueError: shapes do not fit, or labels are not those of the weights.

    >>> combine(jnp.array([1.0, 0.5]), {"a": jnp.array([[1.0, 0.0], [2.0, 4.0]])})
    {'a': Array([2., 2.], dtype=float32)}
    >>> rows = {"a": jnp.array([[1.0], [2.0]]), "b": jnp.array([3.0, 4.0])}
    >>> combine({"a": [1.0, 0.0], "b": [0.0, 1.0]}, rows, labels=lambda path: path)
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
        pairs = [(f" of {label!r}", weights[label], groups[label]) for label in groups]
    else:
        if labels is not None:
            raise ValueError("labels want weights by label")
        pairs = [("", weights, range(len(leaves)))]
    out: list[Any] = list(leaves)
    for name, given, places in pairs:
        shares = jnp.asarray(given)
        if shares.shape != (num_tasks,):
            raise ValueError(f"weights{name} must have shape ({num_tasks},), got {shares.shape}")
        for place in places:
            out[place] = _weighted_sum(shares, leaves[place])
    return structure.unflatten(out)


def _weighted_sum(shares: jax.Array, leaf: Any) -> jax.Array:
    if isinstance(leaf, RowGradients):
        return dense_sum(shares, leaf)
    leaf = jnp.asarray(leaf)
    shares = shares.astype(jnp.promote_types(leaf.dtype, jnp.float32))
    total = jax.lax.platform_dependent(shares, leaf, cpu=_row_by_row, default=_at_once)
    return total.astype(leaf.dtype)


def _at_once(shares: jax.Array, leaf: jax.Array) -> jax.Array:
    # A product and a sum, which XLA fuses to one pass over the leaf, `where` included.
    shares = shares.reshape((-1,) + (1,) * (leaf.ndim - 1))
    return jnp.sum(jnp.where(shares != 0, shares * leaf.astype(shares.dtype), 0), axis=0)


def _row_by_row(shares: jax.Array, leaf: jax.Array) -> jax.Array:
    # XLA's CPU code for a sum over the leading axis goes through memory in strides, 8 times slower.
    if leaf.size <= _SMALL:
        return _at_once(shares, leaf)

    def add(i: Any, total: jax.Array) -> jax.Array:
        return total + jnp.where(shares[i] != 0, shares[i] * leaf[i].astype(shares.dtype), 0)

    count = leaf.shape[0]
    total = jnp.zeros(leaf.shape[1:], shares.dtype)
    if count <= _UNROLLED:
        for i in range(count):
            total = add(i, total)
        return total
    # A loop, since many rows in one pass take long to compile and are hardly faster.
    return jax.lax.fori_loop(0, count, add, total)

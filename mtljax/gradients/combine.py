"""The weighted sum of per-task gradients."""

from collections.abc import Hashable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.gradients.stacked import task_count

Tree = TypeVar("Tree", bound=Any)

_BLOCK = 8
"""Rows that one pass over a leaf adds."""


def combine(weights: ArrayLike, task_grads: Tree) -> Tree:
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
    elif labels is not None:
        raise ValueError("labels want weights by label")
    else:
        groups, weights = {None: list(range(len(leaves)))}, {None: weights}
    out: list[Any] = list(leaves)
    for label, places in groups.items():
        shares = jnp.asarray(weights[label])
        if shares.shape != (num_tasks,):
            of = "" if label is None else f" of {label!r}"
            raise ValueError(f"weights{of} must have shape ({num_tasks},), got {shares.shape}")
        for place in places:
            out[place] = _weighted_sum(shares, leaves[place])
    return structure.unflatten(out)


def _weighted_sum(shares: jax.Array, leaf: Any) -> jax.Array:
    if isinstance(leaf, RowGradients):
        return dense_sum(shares, leaf)
    leaf = jnp.asarray(leaf)
    dtype = jnp.promote_types(leaf.dtype, jnp.float32)
    # A product and a sum, which XLA fuses to one pass over the leaf, `where` included.
    shares = shares.astype(dtype).reshape((-1,) + (1,) * (leaf.ndim - 1))
    rows = jnp.where(shares != 0, shares * leaf.astype(dtype), 0)
    return jnp.sum(rows, axis=0).astype(leaf.dtype)

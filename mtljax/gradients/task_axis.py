"""The leading task axis of trees of per-task gradients."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.row_gradients import RowGradients, is_rows


def task_count(task_grads: Any) -> int:
    """Returns T, the length of the leading axis that all leaves share.

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``, or `RowGradients`.

    Returns:
      The number of tasks, 1 or more.

    Raises:
      TypeError: a leaf is not real floating point.
      ValueError: no leaves, a scalar leaf, no tasks, leaves that differ in T, or indices of rows
        that do not fit their values.

    >>> task_count({"kernel": jnp.ones((3, 2, 2)), "bias": jnp.ones((3, 2))})
    3
    """
    count = None
    for path, leaf in jax.tree_util.tree_leaves_with_path(task_grads, is_leaf=is_rows):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if isinstance(leaf, RowGradients):
            index_shape, leaf = jnp.shape(leaf.indices), leaf.values
            if len(index_shape) != 2 or jnp.shape(leaf)[:2] != index_shape:
                raise ValueError(
                    f"task_grads: rows {name!r} have indices of shape {index_shape}, values of "
                    f"shape {jnp.shape(leaf)}"
                )
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            dtype = jnp.result_type(leaf)
            raise TypeError(f"task_grads: leaf {name!r} must be floating point, got {dtype}")
        shape = jnp.shape(leaf)
        if not shape or not shape[0]:
            raise ValueError(f"task_grads: leaf {name!r} has no task axis, its shape is {shape}")
        if count is not None and shape[0] != count:
            raise ValueError(f"task_grads: leaf {name!r} has {shape[0]} tasks, others {count}")
        count = shape[0]
    if count is None:
        raise ValueError("task_grads has no leaves")
    return count


def leaves_of(task_grads: Any) -> list[jax.Array | RowGradients]:
    """The leaves of a tree as arrays; a `RowGradients` is one leaf."""
    leaves = jax.tree.leaves(task_grads, is_leaf=is_rows)
    return [leaf if isinstance(leaf, RowGradients) else jnp.asarray(leaf) for leaf in leaves]


def stored_entries(leaf: jax.Array | RowGradients) -> jax.Array:
    """The entries of a leaf that are stored, ``[T, ...]``: norms need no others."""
    return leaf.values if isinstance(leaf, RowGradients) else leaf

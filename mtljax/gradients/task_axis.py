"""The leading task axis of trees of per-task gradients."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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


def reduced(reduce: Callable[[jax.Array], jax.Array], leaf: jax.Array | RowGradients) -> jax.Array:
    """A number for each task of a leaf.

    Args:
      reduce: ``[T, ...] -> [T]``, of which entries of 0 do not change anything.
      leaf: ``[T, *param]``, or `RowGradients`, of which it reads the entries that are stored.

    Returns:
      ``[T]``.
    """
    if not isinstance(leaf, RowGradients):
        return reduce(leaf)
    found = reduce(leaf.values)
    if leaf.dense is None:
        return found
    return found.at[np.array(leaf.dense_tasks)].set(reduce(leaf.dense))


def by_task(
    function: Callable[[jax.Array, jax.Array], jax.Array],
    leaf: jax.Array | RowGradients,
    vector: jax.Array,
) -> Any:
    """A leaf whose entries were changed by something of their tasks.

    Args:
      function: from entries ``[T, ...]`` and the vector to entries of the same shape; those of 0
        stay 0.
      leaf: ``[T, *param]``, or `RowGradients`, whose indices stay.
      vector: ``[T]``.

    Returns:
      A leaf like it.
    """
    if not isinstance(leaf, RowGradients):
        return function(leaf, vector)
    values, dense = function(leaf.values, vector), leaf.dense
    if dense is not None:
        dense = function(dense, vector[np.array(leaf.dense_tasks)])
    return dataclasses.replace(leaf, values=values, dense=dense)


def take_tasks(leaf: jax.Array | RowGradients, tasks: Sequence[int]) -> Any:
    """A leaf of some tasks, in the order in which they are named."""
    order = np.array(tasks)
    if not isinstance(leaf, RowGradients):
        return leaf[order]
    dense, dense_tasks = leaf.dense, ()
    if dense is not None:
        positions = {task: k for k, task in enumerate(leaf.dense_tasks)}
        dense_tasks = tuple(i for i, task in enumerate(tasks) if task in positions)
        dense = dense[np.array([positions[tasks[i]] for i in dense_tasks], int)]
        dense = dense if dense_tasks else None
    values = leaf.values[order]
    return RowGradients(leaf.indices[order], values, leaf.num_rows, dense, dense_tasks)

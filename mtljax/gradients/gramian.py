"""Inner products of per-task gradients."""

from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.dense_products import dense_products
from mtljax.gradients.leaf_groups import Labels, leaf_groups, selected
from mtljax.gradients.row_gradients import RowGradients, as_rows, is_rows
from mtljax.gradients.row_products import row_products
from mtljax.gradients.task_axis import leaves_of, reduced, task_count


def gramian(task_grads: Any, *, where: Labels = None) -> jax.Array:
    """Inner products ``<g_i, g_j>`` of the gradients of T tasks.

    Each leaf is contracted over all of its parameter axes: nothing is concatenated, nor flattened
    except on a CPU, so that sharded leaves stay where they are and only ``[T, T]`` is summed.
    Leaves of lower precision are multiplied exactly and accumulated in float32. In `RowGradients`,
    of a table whose tasks read few rows, the rows that two tasks share are multiplied, and nothing
    but a few integers a row has the size of the table; a NaN of one task reaches its own norm, and
    any of its own products.

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``, or `RowGradients`.
      where: which leaves are included: a tree of booleans like the parameters, a prefix of one, or
        a function from the path of a leaf, such as ``"encoder/layer_0/kernel"``, to a boolean.
        None for all.

    Returns:
      ``[T, T]``, symmetric, float32 (float64 if a leaf is).

    Raises:
      TypeError: a leaf is not real floating point, or `where` not boolean.
      ValueError: no leaves, a scalar leaf, leaves that differ in T, or a mask that does not fit.

    >>> gramian({"a": jnp.array([[1.0, 0.0], [1.0, 1.0]]), "b": jnp.array([2.0, 0.0])})
    Array([[5., 1.],
           [1., 2.]], dtype=float32)
    >>> gramian({"a": jnp.ones((2, 3)), "b": jnp.ones((2, 4))}, where={"a": True, "b": False})[0, 0]
    Array(3., dtype=float32)
    """
    num_tasks = task_count(task_grads)
    leaves = leaves_of(task_grads if where is None else selected(where, task_grads))
    total = jnp.zeros((num_tasks, num_tasks), jnp.float32)
    for leaf in leaves:
        if isinstance(leaf, RowGradients):
            total = total + row_products(leaf)
    dense = [leaf for leaf in leaves if not isinstance(leaf, RowGradients)]
    if dense:
        total = total + dense_products(dense)
    # Partial sums of <g_i, g_j> and <g_j, g_i> may be added in different orders.
    return (total + total.T) / 2


def gramian_diagonal(task_grads: Any, *, where: Labels = None) -> jax.Array:
    """Squared norms ``<g_i, g_i>``: the diagonal of `gramian`, without the other products.

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``, or `RowGradients`.
      where: which leaves are included: see `gramian`.

    Returns:
      ``[T]``, float32 (float64 if a leaf is).

    Raises:
      TypeError: a leaf is not real floating point, or `where` not boolean.
      ValueError: no leaves, a scalar leaf, leaves that differ in T, or a mask that does not fit.

    >>> gramian_diagonal([jnp.array([[1.0, 0.0], [1.0, 1.0]]), jnp.array([2.0, 0.0])])
    Array([5., 2.], dtype=float32)
    """
    total = jnp.zeros(task_count(task_grads), jnp.float32)
    leaves = leaves_of(task_grads if where is None else selected(where, task_grads))
    for leaf in leaves:
        total = total + reduced(_squares, leaf)
    return total


def _squares(leaf: jax.Array) -> jax.Array:
    wide = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
    return jnp.sum(jnp.square(wide), axis=range(1, leaf.ndim))


def cross_gramian(task_grads: Any, other_grads: Any) -> jax.Array:
    """Inner products ``<g_i, h_j>`` of two trees of per-task gradients, not symmetric.

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``, or `RowGradients`: the ``g_i``.
      other_grads: the same tree with leaves ``[U, *param]``: the ``h_j``. A leaf may be
        `RowGradients` in one of the trees and an array in the other.

    Returns:
      ``[T, U]``, float32 (float64 if a leaf is).

    Raises:
      TypeError: a leaf is not real floating point.
      ValueError: no leaves, leaves that differ in T or U, or trees that differ.

    >>> cross_gramian(jnp.array([[1.0, 0.0]]), jnp.array([[2.0, 3.0], [0.0, 1.0]]))
    Array([[2., 0.]], dtype=float32)
    """
    total = jnp.zeros((task_count(task_grads), task_count(other_grads)), jnp.float32)
    leaves, structure = jax.tree.flatten(task_grads, is_leaf=is_rows)
    other_leaves, other_structure = jax.tree.flatten(other_grads, is_leaf=is_rows)
    if structure != other_structure:
        raise ValueError(f"trees of task gradients differ: {structure} and {other_structure}")
    dense = []
    for leaf, other in zip(leaves, other_leaves, strict=True):
        if isinstance(leaf, RowGradients) or isinstance(other, RowGradients):
            total = total + row_products(as_rows(leaf), as_rows(other))
        else:
            dense.append((jnp.asarray(leaf), jnp.asarray(other)))
    if dense:
        total = total + dense_products(*map(list, zip(*dense, strict=True)))
    return total


def group_gramians(task_grads: Any, labels: Labels) -> dict[Hashable, jax.Array]:
    """The Gramian of each group of leaves; their sum is the Gramian of all leaves.

    For weights per group of parameters (`combine` takes them with the same labels), and to see in
    which layers tasks conflict.

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``, or `RowGradients`.
      labels: a tree of labels like the parameters, a prefix of one, or a function from the path of
        a leaf, such as ``"encoder/layer_0/kernel"``, to its label. Labels are strings, or integers.

    Returns:
      A dictionary by label of Gramians ``[T, T]`` float32 (float64 if a leaf of the group is).

    Raises:
      TypeError: a leaf is not real floating point.
      ValueError: as `gramian`; labels that do not fit the tree.

    >>> grads = {"low": jnp.array([[1.0, 0.0], [1.0, 1.0]]), "high": jnp.array([2.0, -1.0])}
    >>> group_gramians(grads, lambda path: path)["high"]
    Array([[ 4., -2.],
           [-2.,  1.]], dtype=float32)
    """
    leaves = jax.tree.leaves(task_grads, is_leaf=is_rows)
    groups = leaf_groups(labels, task_grads)
    return {label: gramian([leaves[i] for i in indices]) for label, indices in groups.items()}

"""Inner products between two sets of per-task gradients."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.dense_products import dense_products
from mtljax.gradients.row_gradients import RowGradients, is_rows, row_products
from mtljax.gradients.stacked import task_count


def cross_gramian(rows: Any, columns: Any) -> jax.Array:
    """Inner products ``<r_i, c_j>`` of two trees of per-task gradients, not symmetric.

    Args:
      rows: a tree of floating point leaves ``[T, *param]``, or `RowGradients`.
      columns: the same tree with leaves ``[U, *param]``.

    Returns:
      ``[T, U]``, float32 (float64 if a leaf is).

    Raises:
      TypeError: a leaf is not real floating point.
      ValueError: no leaves, leaves that differ in T or U, or trees that differ.

    >>> cross_gramian(jnp.array([[1.0, 0.0]]), jnp.array([[2.0, 3.0], [0.0, 1.0]]))
    Array([[2., 0.]], dtype=float32)
    """
    total = jnp.zeros((task_count(rows), task_count(columns)), jnp.float32)
    pairs: list[tuple[Any, Any]] = []
    jax.tree.map(lambda *leaves: pairs.append(leaves), rows, columns, is_leaf=is_rows)
    dense = []
    for one, other in pairs:
        if isinstance(one, RowGradients) != isinstance(other, RowGradients):
            raise ValueError("a leaf is RowGradients in one tree, and must be in both")
        if isinstance(one, RowGradients):
            total = total + row_products(one, other)
        else:
            dense.append((jnp.asarray(one), jnp.asarray(other)))
    if dense:
        total = total + dense_products(*map(list, zip(*dense, strict=True)))
    return total

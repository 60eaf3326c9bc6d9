"""Inner products between two sets of per-task gradients."""

from typing import Any

import jax
import jax.numpy as jnp

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

    def products(a: Any, b: Any) -> jax.Array:
        if isinstance(a, RowGradients) and isinstance(b, RowGradients):
            return row_products(a, b)
        if isinstance(a, RowGradients) or isinstance(b, RowGradients):
            raise ValueError("a leaf is RowGradients in one tree, and must be in both")
        a, b = jnp.asarray(a), jnp.asarray(b)
        axes = tuple(range(1, a.ndim))
        wide = jnp.promote_types(jnp.promote_types(a.dtype, b.dtype), jnp.float32)
        return jax.lax.dot_general(
            a,
            b,
            ((axes, axes), ((), ())),
            precision=jax.lax.Precision.HIGHEST,
            preferred_element_type=wide,
        )

    for part in jax.tree.leaves(jax.tree.map(products, rows, columns, is_leaf=is_rows)):
        total = total + part
    return total

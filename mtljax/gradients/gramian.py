"""Inner products of per-task gradients."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients.labels import Labels, selected
from mtljax.gradients.row_gradients import RowGradients, row_products
from mtljax.gradients.stacked import leaves_of, stored, task_count

_PIECE = 8192
"""Parameters whose products are taken at once on a CPU."""

_HALF = 16
"""Rows with which a product is still fast on a CPU: of twice as many, two halves are multiplied."""


def gramian(task_grads: Any, *, where: Labels = None) -> jax.Array:
    """Inner products ``<g_i, g_j>`` of the gradients of T tasks.

    Leaf by leaf, each with its own contraction over all parameter axes: nothing is flattened or
    concatenated, so sharded leaves stay where they are and only ``[T, T]`` is summed. Leaves of
    lower precision are multiplied exactly and accumulated in float32. Of a table whose tasks read
    few rows, as `RowGradients`, rows in common are multiplied, and nothing has the size of the
    table; a NaN of one task then reaches the products with tasks that share its row, and its own.

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``, or `RowGradients`.
      where: the leaves that count: a tree of booleans like the parameters, a prefix of one, or a
        function from the path of a leaf, such as ``"encoder/layer_0/kernel"``. None for all.

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
            total = total + row_products(leaf, leaf)
            continue
        total = total + leaf_products(leaf)
    return (total + total.T) / 2


def gramian_diagonal(task_grads: Any, *, where: Labels = None) -> jax.Array:
    """Squared norms ``<g_i, g_i>``: the diagonal of `gramian` without the other products.

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``, or `RowGradients`.
      where: the leaves that count: see `gramian`.

    Returns:
      ``[T]``, float32 (float64 if a leaf is).

    Raises:
      TypeError: a leaf is not real floating point.
      ValueError: no leaves, a scalar leaf, or leaves that differ in T.

    >>> gramian_diagonal([jnp.array([[1.0, 0.0], [1.0, 1.0]]), jnp.array([2.0, 0.0])])
    Array([5., 2.], dtype=float32)
    """
    total = jnp.zeros(task_count(task_grads), jnp.float32)
    leaves = leaves_of(task_grads if where is None else selected(where, task_grads))
    for leaf in map(stored, leaves):
        wide = leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
        total = total + jnp.sum(jnp.square(wide), axis=range(1, leaf.ndim))
    return total


def leaf_products(leaf: jax.Array, factors: jax.Array | None = None) -> jax.Array:
    """Inner products ``[T, T]`` of the rows of a leaf ``[T, *param]``, each times its factor."""
    if factors is None:
        factors = jnp.ones((), jnp.promote_types(leaf.dtype, jnp.float32))
    return jax.lax.platform_dependent(leaf, factors, cpu=_in_pieces, default=_products)


def _products(leaf: jax.Array, factors: jax.Array) -> jax.Array:
    if factors.ndim:
        leaf = leaf.astype(factors.dtype) * factors.reshape((-1,) + (1,) * (leaf.ndim - 1))
    axes = tuple(range(1, leaf.ndim))
    return jax.lax.dot_general(
        leaf,
        leaf,
        ((axes, axes), ((), ())),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=factors.dtype,
    )


def _in_pieces(leaf: jax.Array, factors: jax.Array) -> jax.Array:
    # A long product of few rows is cut so that a piece stays in the cache: twice to four times
    # faster, and what is multiplied by its factor is never a second leaf. On a CPU a leaf is one
    # block of memory, so that this reshape moves nothing.
    rows = leaf.reshape(leaf.shape[0], -1)
    whole, rest = divmod(rows.shape[1], _PIECE)
    if whole < 2:
        return _products(rows, factors)

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        piece = jax.lax.dynamic_slice_in_dim(rows, i * _PIECE, _PIECE, 1)
        return total + _in_halves(piece.astype(factors.dtype), factors)

    start = jnp.zeros((leaf.shape[0],) * 2, factors.dtype)
    if rest:
        start = _products(rows[:, whole * _PIECE :], factors)
    return jax.lax.fori_loop(0, whole, add, start)


def _in_halves(rows: jax.Array, factors: jax.Array) -> jax.Array:
    # The products are symmetric: a quarter of the work is left out each time.
    half = rows.shape[0] // 2
    if half < _HALF:
        return _products(rows, factors)
    if factors.ndim:
        rows = rows * factors[:, None]
    one = jnp.ones((), factors.dtype)
    first, second = rows[:half], rows[half:]
    across = jax.lax.dot_general(
        first, second, (((1,), (1,)), ((), ())), precision=jax.lax.Precision.HIGHEST
    )
    return jnp.block([[_in_halves(first, one), across], [across.T, _in_halves(second, one)]])

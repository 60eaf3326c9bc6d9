"""Inner products of a few long rows on a CPU."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

LONG = 2**14
"""Columns from which on rows are long: with fewer, a product of matrices is as fast."""

_BLOCK = 8
"""Rows that are multiplied with as many others at once, their sums in registers or nearly."""

_LANES = 16
"""Columns apart that are added up apart."""

_DEPTH = 4
"""Products that are added before the sum is touched; of eight, the registers spill."""

_PIECE = 2**13
"""Columns that all blocks are made of before the next ones are read: they stay in the cache."""


def long_products(leaves: Sequence[jax.Array]) -> jax.Array:
    """Inner products of rows ``[T, N]``, those of all leaves added up.

    A product of matrices that has few rows and a long sum runs at a third of what a CPU can do, or
    less: its code is made for large results. Here 8 rows times 8 rows are 64 sums of 16 lanes, for
    which each number is read once. Blocks below the diagonal are left out.

    Args:
      leaves: ``[T, N]``, of one T and any N from `LONG` on.

    Returns:
      ``[T, T]``, float32, or as wide as the leaves.
    """
    size, dtype = leaves[0].shape[0], jnp.promote_types(jnp.result_type(*leaves), jnp.float32)
    block = min(size, _BLOCK)
    lanes = jnp.zeros((len(_pairs(size)), block, block, _LANES), dtype)
    for rows in leaves:
        lanes = _add_blocks(rows, lanes)
    blocks = lanes.sum(-1)
    # Of each product, where it lies: one read, where putting blocks together takes many.
    places = np.zeros((size, size), np.int32)
    for k, (i, j) in enumerate(_pairs(size)):
        within = k * blocks[0].size + np.arange(blocks[0].size).reshape(blocks.shape[1:])
        places[i : i + len(within), j : j + len(within)] = within
        places[j : j + len(within), i : i + len(within)] = within.T
    total = blocks.reshape(-1)[places]
    rest = [rows[:, rows.shape[1] // _PIECE * _PIECE :] for rows in leaves]
    return functools.reduce(jnp.add, [row_matrix(rows) for rows in rest if rows.size], total)


def row_matrix(rows: jax.Array) -> jax.Array:
    """Inner products of the rows of ``[T, *param]``, exact in the dtype of the rows.

    Returns:
      ``[T, T]``, float32, or as wide as the rows.
    """
    axes = tuple(range(1, rows.ndim))
    return jax.lax.dot_general(
        rows,
        rows,
        ((axes, axes), ((), ())),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.promote_types(rows.dtype, jnp.float32),
    )


def _pairs(size: int) -> list[tuple[int, int]]:
    """First rows of the blocks; the last ones may overlap."""
    starts = [min(i, max(size - _BLOCK, 0)) for i in range(0, size, _BLOCK)]
    return [(i, j) for i in starts for j in starts if i <= j]


def _add_blocks(rows: jax.Array, totals: jax.Array) -> jax.Array:
    """Adds products by block and lane, ``[pairs, b, b, lanes]``, of the whole pieces."""
    pairs = _pairs(rows.shape[0])
    first, second = (jnp.array(places) for places in zip(*pairs, strict=True))
    size, step = totals.shape[1], _LANES * _DEPTH
    zeros = jnp.zeros_like(totals[0])

    def cut(row: jax.Array, column: jax.Array) -> jax.Array:
        some = jax.lax.dynamic_slice(rows, (row, column), (size, step))
        return some.astype(totals.dtype).reshape(size, _DEPTH, _LANES)

    def of_pair(start: jax.Array, pair: jax.Array | int) -> jax.Array:
        def add(i: jax.Array, total: jax.Array) -> jax.Array:
            one, other = (cut(at[pair], start + i * step) for at in (first, second))
            return total + sum(one[:, None, k] * other[None, :, k] for k in range(_DEPTH))

        return jax.lax.fori_loop(0, _PIECE // step, add, zeros)

    def of_piece(i: jax.Array, totals: jax.Array) -> jax.Array:
        if len(pairs) == 1:
            return totals + of_pair(i * _PIECE, 0)
        return jax.lax.fori_loop(
            0, len(pairs), lambda k, all_: all_.at[k].add(of_pair(i * _PIECE, k)), totals
        )

    return jax.lax.fori_loop(0, rows.shape[1] // _PIECE, of_piece, totals)

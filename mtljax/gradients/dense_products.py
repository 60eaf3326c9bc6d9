"""Inner products of dense leaves of per-task gradients."""

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


def dense_products(
    rows: Sequence[jax.Array], columns: Sequence[jax.Array] | None = None
) -> jax.Array:
    """Inner products of the rows of all leaves, those of a leaf over all of its parameter axes.

    Args:
      rows: leaves ``[T, *param]``, at least one.
      columns: leaves ``[U, *param]`` of the same parameters; None for the rows themselves.

    Returns:
      ``[T, U]``, float32, or as wide as the leaves, of which no product is rounded before.
    """
    return jax.lax.platform_dependent(rows, columns, cpu=_by_length, default=_leaf_by_leaf)


def leaf_products(rows: jax.Array, columns: jax.Array | None = None) -> jax.Array:
    """`dense_products` of one leaf, as one product of matrices."""
    columns = rows if columns is None else columns
    axes = tuple(range(1, rows.ndim))
    return jax.lax.dot_general(
        rows,
        columns,
        ((axes, axes), ((), ())),
        precision=jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.promote_types(jnp.result_type(rows, columns), jnp.float32),
    )


def _leaf_by_leaf(rows: Sequence[jax.Array], columns: Sequence[jax.Array] | None) -> jax.Array:
    products = map(leaf_products, rows, rows if columns is None else columns)
    return functools.reduce(jnp.add, products)


def _by_length(rows: Sequence[jax.Array], columns: Sequence[jax.Array] | None) -> jax.Array:
    def some(leaves: Sequence[jax.Array], places: list[int]) -> list[jax.Array]:
        # On a CPU a leaf is one block of memory, so that this reshape moves nothing.
        return [leaves[i].reshape(leaves[i].shape[0], -1) for i in places]

    sizes = [leaf[0].size for leaf in rows]
    short = [i for i, size in enumerate(sizes) if size < LONG]
    long = [i for i, size in enumerate(sizes) if size >= LONG]
    parts = []
    for places, multiply in ((short, _leaf_by_leaf), (long, long_products)):
        if places:
            other = None if columns is None else some(columns, places)
            parts.append(multiply(some(rows, places), other))
    return functools.reduce(jnp.add, parts)


def long_products(
    rows: Sequence[jax.Array], columns: Sequence[jax.Array] | None = None
) -> jax.Array:
    """`dense_products` of few and long rows on a CPU.

    There a product of matrices that has few rows and a long sum runs at a third of what is
    possible, or less: its code is made for large results. Here 8 rows times 8 columns are 64 sums
    of 16 lanes, for which each number is read once. Of products of rows with each other, blocks
    below the diagonal are left out.

    Args:
      rows: leaves ``[T, N]``, any N from `LONG` on.
      columns: leaves ``[U, N]``, or None.

    Returns:
      ``[T, U]``, float32, or as wide as the leaves.
    """
    others = rows if columns is None else columns
    size, width = rows[0].shape[0], others[0].shape[0]
    corners = [
        (i, j) for i in _starts(size) for j in _starts(width) if columns is not None or i <= j
    ]
    dtype = jnp.promote_types(jnp.result_type(*rows, *others), jnp.float32)
    shape = (len(corners), min(size, _BLOCK), min(width, _BLOCK))
    lanes = jnp.zeros((*shape, _LANES), dtype)
    for one, other in zip(rows, others, strict=True):
        lanes = _add_blocks(one, other, corners, lanes)
    # Of each product, where it lies: one read, where putting blocks together takes many.
    places = np.zeros((size, width), np.int32)
    for (i, j), block in zip(corners, np.arange(np.prod(shape)).reshape(shape), strict=True):
        places[i : i + shape[1], j : j + shape[2]] = block
        if columns is None:
            places[j : j + shape[2], i : i + shape[1]] = block.T
    parts = [lanes.sum(-1).reshape(-1)[places]]
    for one, other in zip(rows, others, strict=True):
        whole = one.shape[1] // _PIECE * _PIECE
        if whole < one.shape[1]:
            parts.append(leaf_products(one[:, whole:], other[:, whole:]))
    return functools.reduce(jnp.add, parts)


def _starts(size: int) -> list[int]:
    """First rows of the blocks; the last two may overlap."""
    return [min(i, max(size - _BLOCK, 0)) for i in range(0, size, _BLOCK)]


def _add_blocks(
    rows: jax.Array, columns: jax.Array, corners: list[tuple[int, int]], totals: jax.Array
) -> jax.Array:
    """Adds the products of the whole pieces by block and lane, ``[blocks, b, c, lanes]``."""
    first, second = (jnp.array(places) for places in zip(*corners, strict=True))
    step = _LANES * _DEPTH

    def cut(leaf: jax.Array, row: jax.Array, column: jax.Array) -> jax.Array:
        size = min(leaf.shape[0], _BLOCK)
        some = jax.lax.dynamic_slice(leaf, (row, column), (size, step))
        return some.astype(totals.dtype).reshape(size, _DEPTH, _LANES)

    def of_block(k: jax.Array | int, start: jax.Array) -> jax.Array:
        def add(i: jax.Array, total: jax.Array) -> jax.Array:
            one = cut(rows, first[k], start + i * step)
            other = cut(columns, second[k], start + i * step)
            return total + sum(one[:, None, d] * other[None, :, d] for d in range(_DEPTH))

        return jax.lax.fori_loop(0, _PIECE // step, add, jnp.zeros_like(totals[0]))

    def of_piece(i: jax.Array, totals: jax.Array) -> jax.Array:
        if len(corners) == 1:
            return totals + of_block(0, i * _PIECE)
        return jax.lax.fori_loop(
            0, len(corners), lambda k, all_: all_.at[k].add(of_block(k, i * _PIECE)), totals
        )

    return jax.lax.fori_loop(0, rows.shape[1] // _PIECE, of_piece, totals)

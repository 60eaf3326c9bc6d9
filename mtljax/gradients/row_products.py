"""Inner products of per-task gradients of which most rows are zero."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.gradients.dense_products import dense_products, leaf_products
from mtljax.gradients.row_gradients import RowGradients

_BLOCK = 2**14
"""Parameters, about, of each task in the shared rows whose products are computed at once."""

_FEW = 4
"""Tasks, at most, that read a row whose products are taken pair by pair."""


def row_products(grads: RowGradients, other: RowGradients | None = None) -> jax.Array:
    """Inner products ``<g_i, h_j>`` of two leaves of one table; see `cross_gramian`.

    The rows that several tasks read are brought together, block by block: about ``T U S`` products
    of rows, where S is the number of rows that many tasks have in common, and less for those that
    few have, whatever the size of the table.

    Args:
      grads: the gradients of T tasks.
      other: the gradients of U tasks; None for `grads` themselves.

    Returns:
      ``[T, U]``, float32 (float64 if the values are).

    Raises:
      ValueError: the tables have different numbers of rows.
    """
    if other is not None and grads.num_rows != other.num_rows:
        raise ValueError(f"rows of tables of {grads.num_rows} and of {other.num_rows}")
    products = _of_one_leaf(grads) if other is None else _of_two_leaves(grads, other)
    for rows, columns, block in _dense_parts(grads, other):
        products = products.at[np.ix_(rows, columns)].add(block.astype(products.dtype))
    return products


def _of_one_leaf(grads: RowGradients) -> jax.Array:
    count = grads.indices.shape[0]
    dtype = jnp.promote_types(grads.values.dtype, jnp.float32)
    squares = jnp.sum(jnp.square(grads.values.astype(dtype)), _axes(grads.values))
    if not grads.indices.size:
        return jnp.diag(squares)

    # How many tasks read each row, and for each entry how many tasks before its own.
    def read(readers: jax.Array, indices: jax.Array) -> tuple[jax.Array, jax.Array]:
        before = readers.at[indices].get(mode="fill", fill_value=0)
        return readers.at[indices].add(1, mode="drop"), before

    readers, ranks = jax.lax.scan(read, jnp.zeros(grads.num_rows, jnp.int32), grads.indices)
    tasks = _tasks(grads)
    if count <= _FEW:
        products = _products_of_blocks([_entries(grads, readers > 1, tasks, count, 2)])
    else:
        few = _entries(grads, (readers > 1) & (readers <= _FEW), ranks, _FEW, 2)
        many = _entries(grads, readers > _FEW, tasks, count, _FEW + 1)
        products = _products_of_blocks([many]) + _products_of_pairs(few, count)
    # Rows that one task alone reads are in its own norm only.
    return jnp.where(jnp.eye(count, dtype=bool), squares, products)


def _of_two_leaves(grads: RowGradients, other: RowGradients) -> jax.Array:
    sides = (grads, other)
    shape = (grads.indices.shape[0], other.indices.shape[0])
    if not grads.indices.size or not other.indices.size:
        return jnp.zeros(shape, jnp.promote_types(jnp.result_type(*_values(sides)), jnp.float32))
    is_read = [
        jnp.zeros(side.num_rows, bool).at[side.indices].set(True, mode="drop") for side in sides
    ]
    shared = is_read[0] & is_read[1]
    return _products_of_blocks(
        [_entries(side, shared, _tasks(side), len(side.indices), 1) for side in sides]
    )


class _Entries(NamedTuple):
    """Entries of a leaf, brought together by the rows that they are of.

    Attributes:
      places: ``[K, S]``, of each row up to K entries, as indices of `rows`, and past its end where
        there are fewer.
      count: how many of the S rows there are.
      rows: ``[T N, D]``, the values of all entries.
      size: N.
    """

    places: jax.Array
    count: jax.Array
    rows: jax.Array
    size: int


def _entries(
    grads: RowGradients, chosen: jax.Array, columns: jax.Array, width: int, readers: int
) -> _Entries:
    """The entries of the chosen rows of a table.

    Args:
      grads: a leaf.
      chosen: bool ``[V]``; each of these rows has `readers` entries or more.
      columns: ``[T, N]``, where an entry stands among those of its row, below `width`.
      width: K, entries of a row at most.
      readers: entries of a chosen row at least.
    """
    total, size = grads.indices.size, grads.indices.shape[1]
    most = min(grads.num_rows, total // readers)
    slots = jnp.cumsum(chosen, dtype=jnp.int32)  # from 1 on, at chosen rows
    own = jnp.where(chosen, slots - 1, most).at[grads.indices].get(mode="fill", fill_value=most)
    places = jnp.full((width, most), total, jnp.int32)
    numbers = jnp.arange(total, dtype=jnp.int32).reshape(grads.indices.shape)
    places = places.at[columns, own].set(numbers, mode="drop")
    return _Entries(places, slots[-1], grads.values.reshape(total, -1), size)


def _block_of_rows(entries: _Entries, begin: jax.Array, block: int) -> tuple[jax.Array, jax.Array]:
    """The places of a block of rows ``[K, block]``, and their values ``[K, block, D]``, wide."""
    places = jax.lax.dynamic_slice_in_dim(entries.places, begin, block, 1)
    rows = entries.rows.at[places].get(mode="fill", fill_value=0)
    rows = rows.astype(jnp.promote_types(rows.dtype, jnp.float32))
    # Else XLA gathers them once for each operand of a product.
    return places, jax.lax.optimization_barrier(rows)


def _products_of_blocks(sides: list[_Entries]) -> jax.Array:
    """Products of tasks, from rows with an entry a task, of one leaf or of two."""
    block, padded = _padded(sides, _BLOCK)

    def add(k: jax.Array, total: jax.Array) -> jax.Array:
        rows = [_block_of_rows(side, k * block, block)[1] for side in padded]
        return total + leaf_products(*(part.reshape(part.shape[0], -1) for part in rows))

    shape = (sides[0].places.shape[0], sides[-1].places.shape[0])
    dtype = jnp.promote_types(jnp.result_type(*(side.rows for side in sides)), jnp.float32)
    return jax.lax.fori_loop(0, -(-sides[0].count // block), add, jnp.zeros(shape, dtype))


def _products_of_pairs(entries: _Entries, count: int) -> jax.Array:
    """Products of `count` tasks, from rows with a few entries; the diagonal is left out."""
    block, (padded,) = _padded([entries], 2 * _BLOCK)
    pairs = np.array(list(itertools.combinations(range(entries.places.shape[0]), 2))).T

    def add(k: jax.Array, total: jax.Array) -> jax.Array:
        places, rows = _block_of_rows(padded, k * block, block)
        products = jnp.stack([jnp.sum(rows[i] * rows[j], axis=-1) for i, j in pairs.T])
        # Where there is no entry, the task is past the last one, and its product dropped.
        tasks = places // entries.size
        return total.at[tasks[pairs[0]], tasks[pairs[1]]].add(products, mode="drop")

    dtype = jnp.promote_types(entries.rows.dtype, jnp.float32)
    total = jnp.zeros((count, count), dtype)
    total = jax.lax.fori_loop(0, -(-entries.count // block), add, total)
    return total + total.T


def _padded(sides: list[_Entries], parameters: int) -> tuple[int, list[_Entries]]:
    """How many rows a block has, and the entries with places for whole blocks."""
    most, row_size = sides[0].places.shape[1], sides[0].rows.shape[1]
    block = max(1, min(most, parameters // max(row_size, 1)))

    def padded(side: _Entries) -> _Entries:
        pad = ((0, 0), (0, -side.places.shape[1] % block))
        return side._replace(places=jnp.pad(side.places, pad, constant_values=len(side.rows)))

    return block, [padded(side) for side in sides]


def _tasks(grads: RowGradients) -> jax.Array:
    tasks = jnp.arange(grads.indices.shape[0], dtype=jnp.int32)
    return jnp.broadcast_to(tasks[:, None], grads.indices.shape)


def _values(sides: tuple[RowGradients, ...]) -> list[jax.Array]:
    return [side.values for side in sides]


def _dense_parts(
    grads: RowGradients, other: RowGradients | None
) -> list[tuple[list[int], list[int], jax.Array]]:
    """Products with tasks that have all rows: of which tasks, with which others, and they."""
    parts = []
    right = grads if other is None else other
    if grads.dense is not None:
        parts.append((grads.dense_tasks, _all(right), _dense_times_rows(grads.dense, right)))
    if right.dense is not None:
        products = parts[0][2] if other is None else _dense_times_rows(right.dense, grads)
        parts.append((_all(grads), right.dense_tasks, products.T))
    if grads.dense is not None and right.dense is not None:
        others = None if other is None else [right.dense]
        products = dense_products([grads.dense], others)
        parts.append((grads.dense_tasks, right.dense_tasks, products))
    return parts


def _dense_times_rows(dense: jax.Array, rows: RowGradients) -> jax.Array:
    """``[K, T]``: of tasks with all rows, and the entries of others."""
    dtype = jnp.promote_types(jnp.result_type(dense, rows.values), jnp.float32)

    def of_task(table: jax.Array) -> jax.Array:
        partners = table.at[rows.indices].get(mode="fill", fill_value=0)
        products = rows.values.astype(dtype) * partners.astype(dtype)
        return jnp.sum(products, _axes(rows.values))

    return jax.lax.map(of_task, dense)


def _all(grads: RowGradients) -> list[int]:
    return list(range(grads.indices.shape[0]))


def _axes(values: jax.Array) -> tuple[int, ...]:
    return tuple(range(1, values.ndim))

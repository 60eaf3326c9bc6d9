"""Inner products of per-task gradients of which most rows are zero."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.gradients.dense_products import dense_products, leaf_products
from mtljax.gradients.row_gradients import RowGradients

_BLOCK = 2**15
"""Parameters, about, of the shared rows whose products are computed at once."""


def row_products(grads: RowGradients, other: RowGradients | None = None) -> jax.Array:
    """Inner products ``<g_i, h_j>`` of two leaves of one table; see `cross_gramian`.

    Rows that several tasks read are brought together, block by block, and multiplied as matrices:
    about ``T U S`` products of rows, where S is the number of rows that several tasks have in
    common, whatever the size of the table.

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
    if other is None:
        products = _shared_row_products((grads,))
        # Rows that one task alone reads are in its own norm only.
        squares = jnp.sum(jnp.square(grads.values.astype(products.dtype)), _axes(grads.values))
        products = jnp.where(jnp.eye(len(squares), dtype=bool), squares, products)
    else:
        products = _shared_row_products((grads, other))
    for part in _dense_parts(grads, other):
        rows, columns, block = part
        products = products.at[np.ix_(rows, columns)].add(block.astype(products.dtype))
    return products


def _shared_row_products(sides: tuple[RowGradients, ...]) -> jax.Array:
    """Sums over the rows that two tasks have in common; of one leaf with itself, or of two."""
    first, last = sides[0], sides[-1]
    num_rows, row_size = first.num_rows, math.prod(first.values.shape[2:])
    dtype = jnp.promote_types(jnp.result_type(first.values, last.values), jnp.float32)
    counts = [
        jnp.zeros(num_rows, jnp.int32).at[side.indices.reshape(-1)].add(1, mode="drop")
        for side in sides
    ]
    is_shared = counts[0] > 1 if len(sides) == 1 else (counts[0] > 0) & (counts[1] > 0)
    slots = jnp.cumsum(is_shared, dtype=jnp.int32)  # from 1 on, at shared rows
    most = min(num_rows, *(side.indices.size for side in sides))
    total = jnp.zeros((first.indices.shape[0], last.indices.shape[0]), dtype)
    if not most:
        return total
    block = min(most, max(1, _BLOCK // row_size))
    of_sides = [_slots_in_order(side, is_shared, slots, block) for side in sides]

    def add(k: jax.Array, total: jax.Array) -> jax.Array:
        rows = [
            _block_of_rows(side, *of_side, k * block, block).astype(dtype)
            for side, of_side in zip(sides, of_sides, strict=True)
        ]
        return total + leaf_products(*rows)

    return jax.lax.fori_loop(0, -(-slots[-1] // block), add, total)


def _slots_in_order(
    side: RowGradients, is_shared: jax.Array, slots: jax.Array, block: int
) -> tuple[jax.Array, jax.Array]:
    """Of each task the shared rows that it has, ascending: their slots from 0 on, and their places.

    Both are ``[T, N + block]``; unused entries come last, and have a slot past all others.
    """
    count, size = side.indices.shape
    shared = is_shared.at[side.indices].get(mode="fill", fill_value=False)
    positions = jnp.where(shared, jnp.cumsum(shared, axis=1) - 1, size + block)
    tasks = jnp.arange(count)[:, None]
    own = slots.at[side.indices].get(mode="clip") - 1
    past = jnp.full((count, size + block), jnp.iinfo(jnp.int32).max, jnp.int32)
    places = jnp.broadcast_to(jnp.arange(size, dtype=jnp.int32), (count, size))
    return (
        past.at[tasks, positions].set(own, mode="drop"),
        jnp.zeros_like(past).at[tasks, positions].set(places, mode="drop"),
    )


def _block_of_rows(
    side: RowGradients, slots: jax.Array, places: jax.Array, begin: jax.Array, block: int
) -> jax.Array:
    """The rows of the slots from `begin` on, ``[T, block, *row]``; zeros where a task has none."""

    def of_task(slots: jax.Array, places: jax.Array, values: jax.Array) -> jax.Array:
        # Slots ascend, so that those of a block stand together.
        start = jnp.sum(slots < begin)
        own = jax.lax.dynamic_slice_in_dim(slots, start, block) - begin
        own_places = jax.lax.dynamic_slice_in_dim(places, start, block)
        by_slot = jnp.full(block, values.shape[0], jnp.int32)
        by_slot = by_slot.at[own].set(own_places, mode="drop")
        return values.at[by_slot].get(mode="fill", fill_value=0)

    return jax.vmap(of_task)(slots, places, side.values)


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

"""Sparse per-task gradients of an embedding table of which each task reads few rows."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("indices", "values"),
    meta_fields=("num_rows",),
)
@dataclass(frozen=True)
class RowGradients:
    """A leaf of per-task gradients that stands for ``[T, V, *row]``, most of whose rows are zero.

    `gramian`, `combine`, `sketch` and the other functions of this package take it as one leaf.

    Attributes:
      indices: ``[T, N]``, integers, ascending and without repetition in each task; unused entries
        come last and are `num_rows`. `unique_rows` brings any indices into this form.
      values: ``[T, N, *row]``, floating point, zero in unused entries.
      num_rows: V, the number of rows of the table.
    """

    indices: jax.Array
    values: jax.Array
    num_rows: int


def is_rows(node: Any) -> bool:
    """Whether a node of a tree is a `RowGradients`."""
    return isinstance(node, RowGradients)


def unique_rows(indices: ArrayLike, values: ArrayLike, num_rows: int) -> RowGradients:
    """Sums the values that a task has for the same row, and sorts its rows.

    Args:
      indices: ``[T, N]``, integers in any order; those outside ``[0, num_rows)`` are left out.
      values: ``[T, N, *row]``, floating point: the gradient of each of these rows.
      num_rows: V, the number of rows of the table.

    Returns:
      `RowGradients` with the same N.

    Raises:
      ValueError: shapes do not fit.

    >>> grads = unique_rows([[4, 1, 4]], jnp.array([[[1.0], [2.0], [3.0]]]), 6)
    >>> grads.indices, grads.values[..., 0]
    (Array([[1, 4, 6]], dtype=int32), Array([[2., 4., 0.]], dtype=float32))
    """
    indices, values = jnp.asarray(indices, jnp.int32), jnp.asarray(values)
    if indices.ndim != 2 or values.shape[:2] != indices.shape:
        raise ValueError(
            f"indices [T, N] and values [T, N, ...] have shapes {indices.shape} and {values.shape}"
        )

    def of_task(index: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        inside = (index >= 0) & (index < num_rows)
        index = jnp.where(inside, index, num_rows)
        wide = rows.astype(jnp.promote_types(rows.dtype, jnp.float32))
        wide = jnp.where(inside.reshape(-1, *(1,) * (rows.ndim - 1)), wide, 0)
        unique, positions = jnp.unique(
            index, return_inverse=True, size=index.size, fill_value=num_rows
        )
        summed = jnp.zeros_like(wide).at[positions.reshape(-1)].add(wide)
        return unique, summed.astype(rows.dtype)

    return RowGradients(*jax.vmap(of_task)(indices, values), num_rows)


def row_products(grads: RowGradients, other: RowGradients) -> jax.Array:
    """Inner products ``<g_i, h_j>`` of two leaves of one table; see `cross_gramian`.

    About ``T U N`` products of rows, whatever the size of the table.

    Args:
      grads: the gradients of T tasks.
      other: the gradients of U tasks.

    Returns:
      ``[T, U]``, float32 (float64 if the values are).

    Raises:
      ValueError: the tables have different numbers of rows.
    """
    if grads.num_rows != other.num_rows:
        raise ValueError(f"rows of tables of {grads.num_rows} and of {other.num_rows}")
    dtype = jnp.promote_types(jnp.result_type(grads.values, other.values), jnp.float32)

    def of_task(task: tuple[jax.Array, jax.Array]) -> jax.Array:
        index, rows = task

        def with_task(other_index: jax.Array, other_rows: jax.Array) -> jax.Array:
            # Indices are sorted: a row of one task is looked up among those of the other.
            positions = jnp.searchsorted(other_index, index)
            candidates = other_index.at[positions].get(mode="fill", fill_value=-1)
            shared = (candidates == index) & (index < grads.num_rows)
            partners = other_rows.at[positions].get(mode="clip")
            products = rows.astype(dtype) * partners.astype(dtype)
            return jnp.sum(jnp.where(shared.reshape(-1, *(1,) * (rows.ndim - 1)), products, 0))

        return jax.vmap(with_task)(other.indices, other.values)

    # One task against all others at a time, so that no more than [U, N, *row] of partners are held.
    return jax.lax.map(of_task, (grads.indices, grads.values))


def dense_sum(weights: jax.Array, grads: RowGradients) -> jax.Array:
    """The weighted sum ``sum_i w_i g_i`` of a leaf, by one scatter; see `combine`.

    Args:
      weights: ``[T]``; a task of weight 0 is left out.
      grads: the gradients of T tasks.

    Returns:
      ``[V, *row]``, of the dtype of the values, accumulated in float32 or wider.
    """
    dtype = jnp.promote_types(grads.values.dtype, jnp.float32)
    weights = weights.astype(dtype).reshape(-1, *(1,) * (grads.values.ndim - 1))
    scaled = jnp.where(weights != 0, weights * grads.values.astype(dtype), 0)
    row = grads.values.shape[2:]
    total = jnp.zeros((grads.num_rows, *row), dtype)
    # Unused entries have an index past the end, which is dropped.
    total = total.at[grads.indices.reshape(-1)].add(scaled.reshape(-1, *row), mode="drop")
    return total.astype(grads.values.dtype)

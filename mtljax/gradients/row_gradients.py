"""Per-task gradients of a table of which each task reads few rows."""

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
    """A leaf of per-task gradients, in place of ``[T, V, *row]`` with zeros in most of its V rows.

    `gramian`, `combine`, `sketch` and their relatives take it as one leaf of a tree.

    Attributes:
      indices: ``[T, N]``, integers, ascending and without repetition in each task; unused places
        come last and hold `num_rows`. `unique_rows` makes them so of any indices.
      values: ``[T, N, *row]``, zero in unused places.
      num_rows: V.
    """

    indices: jax.Array
    values: jax.Array
    num_rows: int


def is_rows(node: Any) -> bool:
    """Whether a node of a tree is a `RowGradients`."""
    return isinstance(node, RowGradients)


def unique_rows(indices: ArrayLike, values: ArrayLike, num_rows: int) -> RowGradients:
    """Adds up what a task has for the same row, and sorts its rows.

    Args:
      indices: ``[T, N]``, integers in any order; what is not in ``[0, num_rows)`` is left out.
      values: ``[T, N, *row]``.
      num_rows: V.

    Returns:
      `RowGradients` with the same N.

    Raises:
      ValueError: shapes do not fit.

    >>> found = unique_rows([[4, 1, 4]], jnp.array([[[1.0], [2.0], [3.0]]]), 6)
    >>> found.indices, found.values[..., 0]
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
        found, places = jnp.unique(index, return_inverse=True, size=index.size, fill_value=num_rows)
        return found, jnp.zeros_like(wide).at[places.reshape(-1)].add(wide).astype(rows.dtype)

    return RowGradients(*jax.vmap(of_task)(indices, values), num_rows)


def row_products(one: RowGradients, other: RowGradients) -> jax.Array:
    """Inner products ``<g_i, h_j>``, about ``T U N`` rows of work; see `cross_gramian`."""
    if one.num_rows != other.num_rows:
        raise ValueError(f"rows of tables of {one.num_rows} and of {other.num_rows}")
    dtype = jnp.promote_types(jnp.result_type(one.values, other.values), jnp.float32)

    def of_task(task: tuple[jax.Array, jax.Array]) -> jax.Array:
        index, rows = task

        def with_task(other_index: jax.Array, other_rows: jax.Array) -> jax.Array:
            places = jnp.searchsorted(other_index, index)
            found = other_index.at[places].get(mode="fill", fill_value=-1)
            same = (found == index) & (index < one.num_rows)
            partners = other_rows.at[places].get(mode="clip")
            products = rows.astype(dtype) * partners.astype(dtype)
            return jnp.sum(jnp.where(same.reshape(-1, *(1,) * (rows.ndim - 1)), products, 0))

        return jax.vmap(with_task)(other.indices, other.values)

    # One task against all at a time: [U, N, *row] of partners, if they are held at all.
    return jax.lax.map(of_task, (one.indices, one.values))


def dense_sum(shares: jax.Array, rows: RowGradients) -> jax.Array:
    """The sum over tasks of ``share_i g_i`` as ``[V, *row]``, by one scatter; see `combine`."""
    dtype = jnp.promote_types(rows.values.dtype, jnp.float32)
    shares = shares.astype(dtype).reshape(-1, *(1,) * (rows.values.ndim - 1))
    scaled = jnp.where(shares != 0, shares * rows.values.astype(dtype), 0)
    row = rows.values.shape[2:]
    total = jnp.zeros((rows.num_rows, *row), dtype)
    total = total.at[rows.indices.reshape(-1)].add(scaled.reshape(-1, *row), mode="drop")
    return total.astype(rows.values.dtype)

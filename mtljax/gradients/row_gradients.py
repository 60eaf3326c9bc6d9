"""Sparse per-task gradients of an embedding table of which each task reads few rows."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("indices", "values", "dense"),
    meta_fields=("num_rows", "dense_tasks"),
)
@dataclasses.dataclass(frozen=True)
class RowGradients:
    """A leaf of per-task gradients that stands for ``[T, V, *row]``, most of whose rows are zero.

    `gramian`, `combine`, `sketch` and the other functions of this package take it as one leaf. Some
    tasks may read all rows, as one whose softmax is tied to the table: their gradients are `dense`,
    and they have no entries besides.

    Attributes:
      indices: ``[T, N]``, integers, ascending and without repetition in each task; unused entries
        come last and are `num_rows`. `unique_rows` brings any indices into this form.
      values: ``[T, N, *row]``, floating point, zero in unused entries.
      num_rows: V, the number of rows of the table.
      dense: ``[K, V, *row]``, the gradients of K of the tasks; None for none.
      dense_tasks: the indices of these tasks, ascending.
    """

    indices: jax.Array
    values: jax.Array
    num_rows: int
    dense: jax.Array | None = None
    dense_tasks: tuple[int, ...] = ()


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
    of_task = functools.partial(unique_rows_of_task, num_rows=num_rows)
    unique, summed = jax.lax.platform_dependent(
        indices,
        values,
        # One task after the other, whose values stay in the cache.
        cpu=lambda *arrays: jax.lax.map(lambda pair: of_task(*pair), arrays),
        default=jax.vmap(of_task),
    )
    return RowGradients(unique, summed, num_rows)


def unique_rows_of_task(
    indices: jax.Array, values: jax.Array, num_rows: int
) -> tuple[jax.Array, jax.Array]:
    """`unique_rows` of one task: indices ``[N]`` and values ``[N, *row]``, without its axis."""
    size = indices.shape[0]
    inside = (indices >= 0) & (indices < num_rows)
    found, places = _sorted(jnp.where(inside, indices, num_rows), num_rows)
    # Where a row is met for the first time, it takes the next position.
    positions = jnp.cumsum(jnp.diff(found, prepend=-1) > 0, dtype=jnp.int32) - 1
    unique = jnp.full_like(indices, num_rows).at[positions].set(found)
    # Values are added from where they stand, not sorted before: they are large. What lies outside
    # is dropped.
    targets = jnp.where(found < num_rows, positions, size)
    targets = jnp.zeros_like(indices).at[places].set(targets)
    wide = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    summed = jnp.zeros_like(wide).at[targets].add(wide, mode="drop")
    return unique, summed.astype(values.dtype)


def _sorted(indices: jax.Array, num_rows: int) -> tuple[jax.Array, jax.Array]:
    """Indices ``[N]`` up to `num_rows`, ascending, and where each of them stood."""
    size = indices.shape[0]
    places = jnp.arange(size, dtype=jnp.int32)
    if (num_rows + 1) * size > 2**32:
        found, places = jax.lax.sort((indices, places), num_keys=1)
        return found, places
    # One number for both, which takes half the time.
    keys = jnp.sort(indices.astype(jnp.uint32) * size + places.astype(jnp.uint32))
    return (keys // size).astype(jnp.int32), (keys % size).astype(jnp.int32)


def as_dense(task_grads: Any) -> Any:
    """Per-task gradients as arrays: every `RowGradients` becomes ``[T, V, *row]``.

    Args:
      task_grads: a tree of leaves ``[T, *param]``, or `RowGradients`.

    Returns:
      The same tree of arrays.

    >>> as_dense({"words": RowGradients(jnp.array([[1, 3]]), jnp.array([[2.0, 0.0]]), 3)})
    {'words': Array([[0., 2., 0.]], dtype=float32)}
    """

    def of_leaf(leaf: Any) -> Any:
        if not isinstance(leaf, RowGradients):
            return leaf
        count = leaf.indices.shape[0]
        tasks = jnp.arange(count)[:, None]
        table = jnp.zeros((count, leaf.num_rows, *leaf.values.shape[2:]), leaf.values.dtype)
        table = table.at[tasks, leaf.indices].add(leaf.values, mode="drop")
        if leaf.dense is None:
            return table
        return table.at[np.array(leaf.dense_tasks)].set(leaf.dense)

    return jax.tree.map(of_leaf, task_grads, is_leaf=is_rows)


def as_rows(leaf: Any) -> RowGradients:
    """A leaf ``[T, V, *row]`` as `RowGradients`, all of its tasks dense; rows as they are."""
    if isinstance(leaf, RowGradients):
        return leaf
    leaf = jnp.asarray(leaf)
    count, num_rows, *row = leaf.shape
    none = jnp.zeros((count, 0), jnp.int32)
    values = jnp.zeros((count, 0, *row), leaf.dtype)
    return RowGradients(none, values, num_rows, leaf, tuple(range(count)))


def dense_sum(weights: jax.Array, grads: RowGradients) -> jax.Array:
    """The weighted sum ``sum_i w_i g_i`` of the rows of a leaf, by one scatter; see `combine`.

    Args:
      weights: ``[T]``; a task of weight 0 is left out.
      grads: the gradients of T tasks, whose `dense` part is left out.

    Returns:
      ``[V, *row]``, float32 or as wide as the values.
    """
    dtype = jnp.promote_types(grads.values.dtype, jnp.float32)
    total = jnp.zeros((grads.num_rows, *grads.values.shape[2:]), dtype)

    def add(total: jax.Array, task: tuple[jax.Array, ...]) -> jax.Array:
        weight, indices, values = task
        weight = weight.reshape(-1, *(1,) * (values.ndim - 1))
        scaled = jnp.where(weight != 0, weight * values.astype(dtype), 0)
        # Unused entries have an index past the end, which is dropped.
        return total.at[indices].add(scaled, mode="drop")

    def at_once(tasks: tuple[jax.Array, ...]) -> jax.Array:
        weights, indices, values = tasks
        weights = jnp.repeat(weights, indices.shape[1])
        return add(total, (weights, indices.reshape(-1), values.reshape(-1, *values.shape[2:])))

    return jax.lax.platform_dependent(
        (weights.astype(dtype), grads.indices, grads.values),
        # One task after the other, so that its scaled values stay in the cache.
        cpu=lambda tasks: jax.lax.scan(lambda *pair: (add(*pair), None), total, tasks)[0],
        default=at_once,
    )

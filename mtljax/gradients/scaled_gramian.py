"""The Gramian of gradients whose squares need not be representable."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.gradients.dense_products import by_pieces, leaf_products
from mtljax.gradients.gramian import gramian, gramian_diagonal
from mtljax.gradients.row_gradients import RowGradients
from mtljax.gradients.stacked import leaves_of, stored, task_count

_PIECE = 8192
"""Parameters that are changed, and multiplied, at once on a CPU."""


class ScaledGramian(NamedTuple):
    """Inner products of gradients that were each divided by a power of two.

    Attributes:
      gramian: ``[T, T]``, of the rows ``g_i / row_scale_i``.
      row_scale: ``[T]``, positive.
    """

    gramian: jax.Array
    row_scale: jax.Array


class ScaledDiagonal(NamedTuple):
    """Squared norms of gradients that were each divided by a power of two.

    Attributes:
      gramian_diagonal: ``[T]``, of the rows ``g_i / row_scale_i``.
      row_scale: ``[T]``, positive.
    """

    gramian_diagonal: jax.Array
    row_scale: jax.Array


def scaled_gramian(
    task_grads: Any, mask: ArrayLike | None = None, axis_name: Any = ()
) -> ScaledGramian:
    """Inner products of per-task gradients of any representable size.

    Gradients of norm 1e-25 or 1e25 have squares that float32 does not have. The answer fits
    ``weighting.update(..., gramian=..., row_scale=...)``, which wants norms and cosines only.

    Gradients of ordinary size cost what `gramian` costs, and have a `row_scale` of ones. The
    others, and those that are zero, are read once more for their largest entries and multiplied
    again: `lax.cond` decides, so under vmap both is done for all.

    | rows | answer |
    |---|---|
    | all norms between about 1e-10 and 1e15 (float32) | `gramian`, ones |
    | a smaller or larger one | rows divided by powers of two, their largest entries near 1 |
    | a row of zeros | zeros, 1 |
    | a row with a number that is not finite | not finite, 1; the other rows are right |

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``, or `RowGradients`.
      mask: ``[T]``, boolean, false for an absent task, whose row needs no scale.
      axis_name: under `jax.shard_map`, the axis of the mesh, or a tuple of them, that the leaves
        are split over: each device has a part of all T rows.

    Returns:
      A `ScaledGramian`, float32 (float64 if a leaf is).

    Raises:
      TypeError: a leaf is not real floating point.
      ValueError: no leaves, a scalar leaf, leaves that differ in T, or a mask of another shape.

    >>> scaled_gramian(jnp.array([[3e-25, 0.0], [0.0, 2.0]])).gramian > 0
    Array([[ True, False],
           [False,  True]], dtype=bool)
    """
    plain = _over(axis_name, jax.lax.psum, gramian(task_grads))
    fits = _fits(jnp.diagonal(plain), mask)
    rescaled = functools.partial(_rescaled, axis_name)
    return jax.lax.cond(fits, _as_it_is, rescaled, plain, task_grads)


def scaled_gramian_diagonal(
    task_grads: Any, mask: ArrayLike | None = None, axis_name: Any = ()
) -> ScaledDiagonal:
    """Squared norms of per-task gradients of any representable size: see `scaled_gramian`.

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``, or `RowGradients`.
      mask: ``[T]``, boolean, false for an absent task, whose row needs no scale.
      axis_name: under `jax.shard_map`, the axis of the mesh, or a tuple of them, that the leaves
        are split over: each device has a part of all T rows.

    Returns:
      A `ScaledDiagonal`, float32 (float64 if a leaf is).

    Raises:
      TypeError: a leaf is not real floating point.
      ValueError: no leaves, a scalar leaf, leaves that differ in T, or a mask of another shape.

    >>> squares, row_scale = scaled_gramian_diagonal(jnp.array([[3e-25, 4e-25]]))
    >>> bool(jnp.isclose(jnp.sqrt(squares) * row_scale, 5e-25)[0])
    True
    """
    plain = _over(axis_name, jax.lax.psum, gramian_diagonal(task_grads))
    fits = _fits(plain, mask)
    rescaled = functools.partial(_rescaled, axis_name)
    return ScaledDiagonal(*jax.lax.cond(fits, _as_it_is, rescaled, plain, task_grads))


def _over(axis_name: Any, add_up: Any, value: jax.Array) -> jax.Array:
    return value if axis_name == () else add_up(value, axis_name)


def _fits(squares: jax.Array, mask: ArrayLike | None) -> jax.Array:
    """Whether squared norms are so far from the limits that no product was lost."""
    if mask is not None and jnp.shape(mask) != squares.shape:
        raise ValueError(f"mask must have shape {squares.shape}, got {jnp.shape(mask)}")
    limits = jnp.finfo(squares.dtype)
    # Entries whose squares underflow add up to less than a rounding of such a norm.
    low, high = float(limits.tiny) / float(limits.eps) ** 2.5, float(limits.max * limits.eps)
    inside = (squares > low) & (squares < high)
    return jnp.all(inside if mask is None else inside | ~jnp.asarray(mask))


def _as_it_is(products: jax.Array, task_grads: Any) -> ScaledGramian:
    del task_grads
    return ScaledGramian(products, jnp.ones(products.shape[:1], products.dtype))


def _rescaled(axis_name: Any, products: jax.Array, task_grads: Any) -> ScaledGramian:
    dtype = products.dtype
    largest = jnp.zeros(task_count(task_grads), dtype)
    leaves = leaves_of(task_grads)
    for leaf in map(stored, leaves):
        rows = jnp.max(jnp.abs(leaf), axis=range(1, leaf.ndim), initial=0).astype(dtype)
        largest = jnp.maximum(largest, rows)
    largest = _over(axis_name, jax.lax.pmax, largest)
    # A power of two divides without rounding. Its inverse must be a normal number as well.
    limit = -jnp.finfo(dtype).minexp
    exponent = jnp.clip(jnp.frexp(largest)[1], -limit, limit)
    exponent = jnp.where((largest > 0) & jnp.isfinite(largest), exponent, 0)

    inverse = jnp.ldexp(jnp.ones((), dtype), -exponent)

    def part(leaf: Any) -> jax.Array:
        compute = gramian if products.ndim == 2 else gramian_diagonal
        if isinstance(leaf, RowGradients):
            values = _times(leaf.values, inverse)
            return compute(dataclasses.replace(leaf, values=values)).astype(dtype)
        if products.ndim == 2:
            return _changed_products(leaf, lambda rows: _times(rows, inverse))
        return compute(_times(leaf, inverse))

    total = _over(axis_name, jax.lax.psum, sum(map(part, leaves), jnp.zeros_like(products)))
    if products.ndim == 2:
        total = (total + total.T) / 2
    return ScaledGramian(total, jnp.ldexp(jnp.ones((), dtype), exponent))


def _times(rows: jax.Array, factors: jax.Array) -> jax.Array:
    return rows.astype(factors.dtype) * factors.reshape((-1,) + (1,) * (rows.ndim - 1))


def _changed_products(leaf: jax.Array, change: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Inner products ``[T, T]`` of the rows of a leaf ``[T, *param]``, as `change` returns them."""

    def multiply(rows: jax.Array) -> jax.Array:
        return leaf_products(change(rows))

    def on_cpu(leaf: jax.Array) -> jax.Array:
        return by_pieces(multiply, leaf.reshape(leaf.shape[0], -1), piece=_PIECE)

    return jax.lax.platform_dependent(leaf, cpu=on_cpu, default=multiply)

"""Gramians of per-task gradients whose squares would overflow or underflow."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.gradients.dense_products import leaf_products, sum_over_blocks
from mtljax.gradients.gramian import gramian, gramian_diagonal
from mtljax.gradients.row_gradients import RowGradients
from mtljax.gradients.task_axis import by_task, leaves_of, reduced, task_count

_BLOCK = 8192
"""Parameters that are scaled and multiplied at once on a CPU."""


class ScaledGramian(NamedTuple):
    """Inner products of gradients that were each divided by a power of two.

    Attributes:
      gramian: ``[T, T]``, float32 or wider: inner products of the ``g_i / row_scale_i``.
      row_scale: ``[T]``, of the same dtype, positive powers of two.
    """

    gramian: jax.Array
    row_scale: jax.Array


class ScaledDiagonal(NamedTuple):
    """Squared norms of gradients that were each divided by a power of two.

    Attributes:
      gramian_diagonal: ``[T]``, float32 or wider: squared norms of the ``g_i / row_scale_i``.
      row_scale: ``[T]``, of the same dtype, positive powers of two.
    """

    gramian_diagonal: jax.Array
    row_scale: jax.Array


def scaled_gramian(
    task_grads: Any, mask: ArrayLike | None = None, axis_name: Any = ()
) -> ScaledGramian:
    """Inner products of per-task gradients of any representable size.

    Squares of gradients of norm 1e-25 or 1e25 are not representable in float32. The result fits
    ``weighting.update(..., gramian=..., row_scale=...)``, which needs norms and cosines only.

    Gradients of ordinary size cost what `gramian` costs, and have a `row_scale` of ones. Otherwise
    the gradients are read once more for their largest entries and multiplied again: `lax.cond`
    decides, so that under `jax.vmap` both is computed.

    | gradients | result |
    |---|---|
    | all norms between about 1e-10 and 1e15 (float32) | `gramian`, ones |
    | a smaller or larger one | each divided by a power of two, its largest entry near 1 |
    | a gradient of zeros | zeros, 1 |
    | a number that is not finite | not finite, 1; products of the other gradients are right |

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``, or `RowGradients`.
      mask: ``[T]``, boolean, false for an absent task, whose gradient needs no scale.
      axis_name: under `jax.shard_map`, the axis of the mesh, or a tuple of them, that the leaves
        are split over: each device has a part of every leaf, for all T tasks.

    Returns:
      A `ScaledGramian`, float32 (float64 if a leaf is).

    Raises:
      TypeError: a leaf is not real floating point.
      ValueError: no leaves, a scalar leaf, leaves that differ in T, or a mask of another shape.

    >>> scaled_gramian(jnp.array([[3e-25, 0.0], [0.0, 2.0]])).gramian > 0
    Array([[ True, False],
           [False,  True]], dtype=bool)
    """
    plain = _reduced(axis_name, jax.lax.psum, gramian(task_grads))
    fits = _fits(jnp.diagonal(plain), mask)
    rescaled = functools.partial(_rescaled, axis_name)
    return jax.lax.cond(fits, _unscaled, rescaled, plain, task_grads)


def scaled_gramian_diagonal(
    task_grads: Any, mask: ArrayLike | None = None, axis_name: Any = ()
) -> ScaledDiagonal:
    """Squared norms of per-task gradients of any representable size: see `scaled_gramian`.

    Args:
      task_grads: a tree of floating point leaves ``[T, *param]``, or `RowGradients`.
      mask: ``[T]``, boolean, false for an absent task, whose gradient needs no scale.
      axis_name: under `jax.shard_map`, the axis of the mesh, or a tuple of them, that the leaves
        are split over: each device has a part of every leaf, for all T tasks.

    Returns:
      A `ScaledDiagonal`, float32 (float64 if a leaf is).

    Raises:
      TypeError: a leaf is not real floating point.
      ValueError: no leaves, a scalar leaf, leaves that differ in T, or a mask of another shape.

    >>> squares, row_scale = scaled_gramian_diagonal(jnp.array([[3e-25, 4e-25]]))
    >>> bool(jnp.isclose(jnp.sqrt(squares) * row_scale, 5e-25)[0])
    True
    """
    plain = _reduced(axis_name, jax.lax.psum, gramian_diagonal(task_grads))
    fits = _fits(plain, mask)
    rescaled = functools.partial(_rescaled, axis_name)
    return ScaledDiagonal(*jax.lax.cond(fits, _unscaled, rescaled, plain, task_grads))


def _reduced(axis_name: Any, collective: Any, value: jax.Array) -> jax.Array:
    return value if axis_name == () else collective(value, axis_name)


def _fits(squares: jax.Array, mask: ArrayLike | None) -> jax.Array:
    """Whether squared norms are so far from the limits of the dtype that no product was lost."""
    if mask is not None and jnp.shape(mask) != squares.shape:
        raise ValueError(f"mask must have shape {squares.shape}, got {jnp.shape(mask)}")
    limits = jnp.finfo(squares.dtype)
    # Above `low`, all entries whose squares underflow add up to less than the norm's rounding.
    low, high = float(limits.tiny) / float(limits.eps) ** 2.5, float(limits.max * limits.eps)
    inside = (squares > low) & (squares < high)
    return jnp.all(inside if mask is None else inside | ~jnp.asarray(mask))


def _unscaled(products: jax.Array, task_grads: Any) -> ScaledGramian:
    del task_grads
    return ScaledGramian(products, jnp.ones(products.shape[:1], products.dtype))


def _rescaled(axis_name: Any, products: jax.Array, task_grads: Any) -> ScaledGramian:
    dtype = products.dtype
    largest = jnp.zeros(task_count(task_grads), dtype)
    leaves = leaves_of(task_grads)
    for leaf in leaves:
        largest = jnp.maximum(largest, reduced(_largest, leaf).astype(dtype))
    largest = _reduced(axis_name, jax.lax.pmax, largest)
    # Division by a power of two does not round. Its inverse must be a normal number as well.
    limit = -jnp.finfo(dtype).minexp
    exponent = jnp.clip(jnp.frexp(largest)[1], -limit, limit)
    exponent = jnp.where((largest > 0) & jnp.isfinite(largest), exponent, 0)

    inverse = jnp.ldexp(jnp.ones((), dtype), -exponent)

    def products_of(leaf: Any) -> jax.Array:
        compute = gramian if products.ndim == 2 else gramian_diagonal
        if isinstance(leaf, RowGradients):
            return compute(by_task(_times, leaf, inverse)).astype(dtype)
        if products.ndim == 2:
            return _scaled_products(leaf, inverse)
        return compute(_times(leaf, inverse))

    local = sum(map(products_of, leaves), jnp.zeros_like(products))
    total = _reduced(axis_name, jax.lax.psum, local)
    if products.ndim == 2:
        total = (total + total.T) / 2
    return ScaledGramian(total, jnp.ldexp(jnp.ones((), dtype), exponent))


def _largest(leaf: jax.Array) -> jax.Array:
    return jnp.max(jnp.abs(leaf), axis=range(1, leaf.ndim), initial=0)


def _times(leaf: jax.Array, factors: jax.Array) -> jax.Array:
    return leaf.astype(factors.dtype) * factors.reshape((-1,) + (1,) * (leaf.ndim - 1))


def _scaled_products(leaf: jax.Array, factors: jax.Array) -> jax.Array:
    """Inner products ``[T, T]`` of a leaf ``[T, *param]`` multiplied by factors ``[T]``."""

    def multiply(columns: jax.Array) -> jax.Array:
        return leaf_products(_times(columns, factors))

    def on_cpu(leaf: jax.Array) -> jax.Array:
        # In blocks, so that a scaled copy of the leaf is never held.
        return sum_over_blocks(multiply, leaf.reshape(leaf.shape[0], -1), block=_BLOCK)

    return jax.lax.platform_dependent(leaf, cpu=on_cpu, default=multiply)

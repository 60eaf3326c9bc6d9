"""The norms of a penalty on weights ``[T, d]``, with their proximal steps and conjugates."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Norm(NamedTuple):
    """A convex function of weights that is 0 at 0, times a strength, as solvers take it.

    Attributes:
      value: ``(weights, strength) -> scalar``.
      proximal: ``(weights, strength) -> v``, the minimizer of ``value(v) + |v - weights|^2 / 2``.
      dual_part: ``(argument, strength, weights, whole) -> (part, conjugate)``: the part of an
        argument that the conjugate takes, all of it if `whole`, else what the subgradients at the
        weights can have of it; and the conjugate of that part.
      feasible: ``(argument, strength) -> factor``, within [0, 1], by which the conjugate of the
        argument is finite.
    """

    value: Callable[[jax.Array, jax.Array], jax.Array]
    proximal: Callable[[jax.Array, jax.Array], jax.Array]
    dual_part: Callable[[jax.Array, jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
    feasible: Callable[[jax.Array, jax.Array], jax.Array]


def _of_norm(
    value: Callable[[jax.Array], jax.Array],
    project: Callable[[jax.Array, jax.Array], jax.Array],
    dual: Callable[[jax.Array], jax.Array],
) -> Norm:
    """From a norm, its dual norm, and the projection onto balls of that."""

    def feasible(argument: jax.Array, strength: jax.Array) -> jax.Array:
        length = dual(argument)
        return jnp.minimum(1, strength / jnp.where(length > 0, length, 1))

    return Norm(
        lambda weights, strength: strength * value(weights),
        # Moreau's decomposition.
        lambda weights, strength: weights - project(weights, strength),
        lambda argument, strength, *_: (project(argument, strength), jnp.zeros((), argument.dtype)),
        feasible,
    )


def _lengths(weights: jax.Array) -> jax.Array:
    """The length of the weights of each feature over the tasks: ``[d]``."""
    squares = jnp.sum(weights**2, axis=0)
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)


def _project_groups(weights: jax.Array, radius: jax.Array) -> jax.Array:
    lengths = _lengths(weights)
    return weights * jnp.minimum(1, radius / jnp.where(lengths > 0, lengths, 1))


def singular_values(weights: jax.Array) -> jax.Array:
    """The singular values of weights ``[T, d]``, the largest first."""
    return jnp.linalg.svd(weights, full_matrices=False, compute_uv=False)


def _project_trace(weights: jax.Array, radius: jax.Array) -> jax.Array:
    return _rescaled(weights, lambda values: jnp.minimum(values, radius))


def _proximal_squared_trace(weights: jax.Array, strength: jax.Array) -> jax.Array:
    def lowered(values: jax.Array) -> jax.Array:
        # Singular values are lowered by strength times the sum of what remains: of the k largest,
        # for the k that gives the largest threshold.
        count = jnp.arange(1, values.size + 1)
        threshold = jnp.max(strength * jnp.cumsum(values) / (1 + strength * count))
        return jax.nn.relu(values - threshold)

    return _rescaled(weights, lowered)


def _rescaled(weights: jax.Array, change: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Weights with other singular values, a function of theirs, the largest first.

    By the eigenvectors of ``W W'``, which is small: a decomposition of weights on many features
    takes most of a step's time. What rounding does to it is less than the square root of it of the
    largest singular value, of directions that are that small; the gap is measured without it.
    """
    tasks, features = weights.shape
    if tasks > features:
        left, values, right = jnp.linalg.svd(weights, full_matrices=False)
        return (left * change(values)) @ right
    squares, vectors = jnp.linalg.eigh(weights @ weights.T)
    values = jnp.sqrt(jnp.maximum(squares[::-1], 0))
    left = vectors[:, ::-1]
    factors = jnp.where(values > 0, change(values) / jnp.where(values > 0, values, 1), 0)
    return (left * factors) @ (left.T @ weights)


def _dual_squared_trace(
    argument: jax.Array, strength: jax.Array, weights: jax.Array, whole: jax.Array
) -> tuple[jax.Array, jax.Array]:
    left, values, right = jnp.linalg.svd(argument, full_matrices=False)
    limit = strength * jnp.sum(singular_values(weights))
    values = jnp.where(whole, values, jnp.minimum(values, limit))
    return (left * values) @ right, values[0] ** 2 / (2 * jnp.maximum(strength, 1e-30))


NORMS = {
    "none": Norm(
        lambda w, strength: jnp.zeros((), w.dtype),
        lambda w, strength: w,
        lambda z, strength, *_: (jnp.zeros_like(z), jnp.zeros((), z.dtype)),
        lambda z, strength: jnp.zeros((), z.dtype),
    ),
    "l1": _of_norm(
        lambda w: jnp.sum(jnp.abs(w)),
        lambda w, radius: jnp.clip(w, -radius, radius),
        lambda w: jnp.max(jnp.abs(w)),
    ),
    "groups": _of_norm(
        lambda w: jnp.sum(_lengths(w)), _project_groups, lambda w: jnp.max(_lengths(w))
    ),
    "trace": _of_norm(
        lambda w: jnp.sum(singular_values(w)),
        _project_trace,
        lambda w: jnp.max(singular_values(w)),
    ),
    "squared_trace": Norm(
        lambda w, strength: strength / 2 * jnp.sum(singular_values(w)) ** 2,
        _proximal_squared_trace,
        _dual_squared_trace,
        lambda z, strength: jnp.ones((), z.dtype),
    ),
}
"""By the names that `Omega.norm` takes."""

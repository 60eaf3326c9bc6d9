"""Eigenvalues of a Gramian that exceed rounding."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

_REFINEMENTS = 3


class Spectrum(NamedTuple):
    """An eigendecomposition in ascending order, and the part of it that counts.

    Attributes:
      values: ``[T]``, the eigenvalues; 1 in place of those that do not count, as divisors.
      vectors: ``[T, T]``, the eigenvectors in columns; zero for those that do not count.
      rank: int, how many count: the last ones.
      cutoff: the number above which eigenvalues count.
    """

    values: jax.Array
    vectors: jax.Array
    rank: jax.Array
    cutoff: jax.Array


def spectrum(matrix: ArrayLike, tolerance: ArrayLike) -> Spectrum:
    """Decomposes a symmetric positive semi-definite matrix into what exceeds rounding.

    An eigenvalue counts above `tolerance` times the largest one, and above twice the most negative
    one: noise that moved one below zero moved others as far up. The cost is that of
    `jax.numpy.linalg.eigh`.

    Args:
      matrix: ``[T, T]``, symmetric.
      tolerance: a scalar, a small multiple of the machine epsilon.

    Returns:
      The `Spectrum`.

    >>> spectrum(jnp.ones((2, 2)), 1e-6).rank
    Array(1, dtype=int32)
    """
    values, vectors = jnp.linalg.eigh(matrix)
    cutoff = jnp.maximum(tolerance * values[-1], -2 * values[0])
    kept = values > cutoff
    return Spectrum(
        jnp.where(kept, values, 1), jnp.where(kept, vectors, 0), jnp.sum(kept, dtype=int), cutoff
    )


def refined_solution(
    kept: Spectrum, matrix: jax.Array, target: jax.Array, start: ArrayLike = 0.0
) -> jax.Array:
    """Solves ``matrix @ y = target`` as exactly as the matrix determines y.

    Eigenvalues are known up to the rounding of the largest one, so that a pseudo-inverse made of
    them loses as many digits as the matrix is ill-conditioned. Iterative refinement brings them
    back: each step leaves of the error the part that the pseudo-inverse has wrong.

    Args:
      kept: the `spectrum` of the matrix.
      matrix: ``[T, T]``, symmetric positive semi-definite.
      target: ``[T]``; what is outside the range of the matrix is ignored.
      start: ``[T]``, or a number: what it has outside that range stays in y.

    Returns:
      ``[T]``; with `start` 0 the shortest solution.

    >>> matrix = jnp.array([[1.0, 0.5], [0.5, 1.0]])
    >>> refined_solution(spectrum(matrix, 1e-6), matrix, jnp.ones(2)).round(3)
    Array([0.667, 0.667], dtype=float32)
    """
    y = jnp.broadcast_to(jnp.asarray(start, target.dtype), target.shape)
    for _ in range(1 + _REFINEMENTS):
        residual = target - jnp.matmul(matrix, y, precision="highest")
        y = y + kept.vectors @ ((residual @ kept.vectors) / kept.values)
    return y

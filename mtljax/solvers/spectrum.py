"""Eigenvalues of a Gramian that exceed rounding."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


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

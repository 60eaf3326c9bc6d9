"""Eigenvalues of a Gramian that are more than rounding."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


class Spectrum(NamedTuple):
    """An eigendecomposition, ascending, and the part of it that counts.

    Attributes:
      values: ``[T]``; 1 in place of those that do not count, to be divided by.
      vectors: ``[T, T]``, in columns; zero for those that do not count.
      rank: how many count: the last ones.
      cutoff: the eigenvalue above which they count.
    """

    values: jax.Array
    vectors: jax.Array
    rank: jax.Array
    cutoff: jax.Array


def spectrum(matrix: ArrayLike, tolerance: ArrayLike) -> Spectrum:
    """Decomposes a symmetric positive semi-definite matrix into what exceeds rounding.

    An eigenvalue counts above `tolerance` times the largest one, and above twice the most negative
    one: noise that pushed one below zero pushed others as far up.

    Args:
      matrix: ``[T, T]``.
      tolerance: relative, a small multiple of the machine epsilon.

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

"""Cosine matrices made safely positive definite."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike


def ridged(cosines: ArrayLike) -> jax.Array:
    """Adds to the diagonal as much as rounding may have subtracted.

    The ridge is ``4 m eps`` with m the number of gradients that are not zero. A Gramian that was
    summed in low precision can have more negative eigenvalues: the ridge then grows, eightfold each
    time, until half of it makes a Cholesky factor possible. So ``r |y|^2 <= y' (K + r I) y`` holds
    for the true cosines as well as for the rounded ones.

    Args:
      cosines: ``[T, T]``, symmetric, entries within [-1, 1], as in `UnitGramian`.

    Returns:
      ``[T, T]``, positive definite. A zero row gets a one on the diagonal and nothing else.

    >>> ridged(jnp.array([[1.0, -1.0], [-1.0, 1.0]]))
    Array([[ 1.000001, -1.       ],
           [-1.       ,  1.000001]], dtype=float32)
    """
    cosines = jnp.asarray(cosines)
    size = cosines.shape[-1]
    identity = jnp.eye(size, dtype=cosines.dtype)
    filled = jnp.where(jnp.eye(size, dtype=bool), 1, cosines)
    count = jnp.sum(jnp.diagonal(cosines) > 0)
    least = 2 * jnp.maximum(count, 1) * jnp.finfo(cosines.dtype).eps

    def fails(half: jax.Array) -> jax.Array:
        factor = lax.linalg.cholesky(filled + half * identity, symmetrize_input=False)
        return ~jnp.all(jnp.isfinite(jnp.diagonal(factor)))

    # At T the matrix is diagonally dominant: the loop ends there at the latest.
    half = lax.while_loop(lambda h: (h < size) & fails(h), lambda h: 8 * h, least)
    return filled + 2 * half * identity

"""The Cholesky factor of a Gramian of gradients whose norms are far apart."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike


def pivoted_cholesky(cosines: jax.Array, norms: jax.Array, cutoff: ArrayLike) -> jax.Array:
    """Factorises ``D K D``, with D the norms and K the cosines, as ``L L'``.

    The next column is that of the gradient which has the largest part orthogonal to those before.
    Each row of L then has the relative precision of K, whatever the norms are, while in
    ``D K D`` itself the rounding of the largest entries hides the smallest ones.

    Args:
      cosines: ``[T, T]``, as in `UnitGramian`.
      norms: ``[T]``, 0 for a row that is not counted; best relative to the largest one.
      cutoff: a scalar: a gradient of which no more than this part (of its square) is orthogonal to
        the ones before depends on them.

    Returns:
      ``[T, T]``, one column for each gradient that is independent of those before, then zeros.

    >>> pivoted_cholesky(jnp.array([[1.0, 0.6], [0.6, 1.0]]), jnp.array([1.0, 10.0]), 1e-6).round(3)
    Array([[ 0.6,  0.8],
           [10. ,  0. ]], dtype=float32)
    """
    size = norms.size

    def eliminate(column: jax.Array, carry: tuple[jax.Array, jax.Array, jax.Array]):
        rest, factor, remaining = carry
        squares = jnp.diagonal(rest)
        squares = jnp.where(remaining & (squares > cutoff), squares, 0)
        lengths = jnp.sqrt(squares) * norms
        pivot = jnp.argmax(lengths)
        found = lengths[pivot] > 0
        root = jnp.sqrt(jnp.where(found, squares[pivot], 1))
        values = jnp.where(found & remaining, rest[:, pivot] / root, 0)
        remaining = remaining & (jnp.arange(size) != pivot)
        return rest - values[:, None] * values, factor.at[:, column].set(values), remaining

    start = (cosines, jnp.zeros_like(cosines), norms > 0)
    _, factor, _ = lax.fori_loop(0, size, eliminate, start)
    return factor * norms[:, None]

"""The singular value decomposition by one-sided Jacobi rotations, precise in small values too."""

import jax
import jax.numpy as jnp
from jax import lax

_MAX_SWEEPS = 20


def orthogonal_columns(matrix: jax.Array) -> jax.Array:
    """Rotates the columns of a matrix until they are orthogonal: ``U S`` of ``U S V'``.

    Each rotation depends on the angle and the lengths of two columns alone, so that singular values
    far below the largest one are as precise, relatively, as the columns that they come from; those
    of a bidiagonal reduction are only known up to the rounding of the largest one. With the factor
    of `pivoted_cholesky` this is the method of Veselic and Hari, "A note on a one-sided Jacobi
    algorithm", Numer. Math. 56 (1989), analysed by Demmel and Veselic, "Jacobi's method is more
    accurate than QR", SIAM J. Matrix Anal. Appl. 13 (1992).

    The pairs of a round, which have no column in common, are rotated at once; a sweep of
    ``T - 1`` rounds meets all pairs. It takes 3 to 6 sweeps.

    Args:
      matrix: ``[R, T]``, of numbers whose squares do not overflow. Zero columns stay.

    Returns:
      ``[R, T]``, in no particular order of the columns.

    >>> orthogonal_columns(jnp.array([[3.0, 4.0], [0.0, 0.0]])).round(3)
    Array([[0., 5.],
           [0., 0.]], dtype=float32)
    """
    num_rows, count = matrix.shape
    if count < 2:
        return matrix
    half = (count + 1) // 2
    dtype = matrix.dtype
    columns = jnp.pad(matrix.T, ((0, 2 * half - count), (0, 0)))
    precise = max(num_rows, count) * jnp.finfo(dtype).eps

    def rotate_pairs(_, carry: tuple[jax.Array, jax.Array, jax.Array]):
        first, second, largest = carry
        units, lengths = unit_rows(first)
        other_units, other_lengths = unit_rows(second)
        cosines = jnp.sum(units * other_units, axis=1)
        turned = jnp.abs(cosines) > jnp.finfo(dtype).eps
        # The tangent of the smaller angle that makes the two columns orthogonal.
        ratio = jnp.where(turned, other_lengths / jnp.where(turned, lengths, 1), 1)
        cotangent = (ratio - 1 / ratio) / (2 * jnp.where(turned, cosines, 1))
        sign = jnp.where(cotangent < 0, -1, 1)
        tangent = sign / (jnp.abs(cotangent) + jnp.sqrt(1 + cotangent**2))
        tangent = jnp.where(turned, tangent, 0).astype(dtype)
        cos = lax.rsqrt(1 + tangent**2)[:, None]
        sin = cos * tangent[:, None]
        first, second = cos * first - sin * second, sin * first + cos * second
        if half > 1:  # a round robin: the first stays, all others move on by one
            first, second = (
                jnp.concatenate([first[:1], second[:1], first[1:-1]]),
                jnp.concatenate([second[1:], first[-1:]]),
            )
        return first, second, jnp.maximum(largest, jnp.max(jnp.abs(cosines)))

    def sweep(carry: tuple[jax.Array, jax.Array, jax.Array, jax.Array]):
        first, second, _, sweeps = carry
        start = (first, second, jnp.zeros((), dtype))
        return *lax.fori_loop(0, 2 * half - 1, rotate_pairs, start), sweeps + 1

    first, second, _, _ = lax.while_loop(
        lambda carry: (carry[2] > precise) & (carry[3] < _MAX_SWEEPS),
        sweep,
        (columns[:half], columns[half:], jnp.ones((), dtype), jnp.asarray(0)),
    )
    return jnp.concatenate([first, second])[:count].T


def unit_rows(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns rows ``[R, T]`` divided by their lengths, and the lengths ``[R]``; zero rows stay."""
    largest = jnp.max(jnp.abs(rows), axis=1)
    safe = jnp.where(largest > 0, largest, 1)
    scaled = rows / safe[:, None]
    lengths = jnp.sqrt(jnp.sum(scaled**2, axis=1))
    return scaled / jnp.where(largest > 0, lengths, 1)[:, None], largest * lengths

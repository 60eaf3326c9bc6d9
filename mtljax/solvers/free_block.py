"""Linear equations in some of the variables."""

import jax
import jax.numpy as jnp


def factor_free(matrix: jax.Array, free: jax.Array) -> jax.Array:
    """Factorises the rows and columns in `free`; those of the others are of the identity.

    Args:
      matrix: ``[m, m]``, symmetric and positive semidefinite, with a diagonal of 1, or 0 in a row
        that is not counted. The diagonal grows by 4 machine epsilons for each row that is.
      free: boolean ``[m]``.

    Returns:
      Lower Cholesky factor ``[m, m]``; NaN if the free block is not positive definite.

    >>> factor_free(jnp.ones((2, 2)), jnp.array([True, False])).round(3)
    Array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    ridge = 1 + 4 * jnp.trace(matrix) * jnp.finfo(matrix.dtype).eps
    block = jnp.where(free[:, None] & free, matrix, 0)
    block = jnp.where(jnp.eye(free.size, dtype=bool), jnp.where(free, ridge, 1), block)
    # LAPACK stores columns contiguously: of a symmetric matrix, those are its rows.
    return jax.lax.linalg.cholesky(block.T, symmetrize_input=False)


def solve_factored(lower: jax.Array, target: jax.Array, free: jax.Array) -> jax.Array:
    """Solves the equations of the entries in `free` for those entries; 0 elsewhere.

    Args:
      lower: ``[m, m]``, of `factor_free`.
      target: ``[m]``.
      free: boolean ``[m]``.

    Returns:
      ``[m]``.

    >>> solve_factored(2 * jnp.eye(2), jnp.array([4.0, 8.0]), jnp.array([True, False]))
    Array([1., 0.], dtype=float32)
    """
    columns = jnp.where(free, target, 0)[:, None]
    half = jax.lax.linalg.triangular_solve(lower, columns, left_side=True, lower=True)
    full = jax.lax.linalg.triangular_solve(
        lower, half, left_side=True, lower=True, transpose_a=True
    )
    return full[:, 0]


def solve_free(matrix: jax.Array, target: jax.Array, free: jax.Array) -> jax.Array:
    """`solve_factored` with the factor of `factor_free`."""
    return solve_factored(factor_free(matrix, free), target, free)

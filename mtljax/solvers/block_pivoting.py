"""Quadratic problems with variables that may not be negative: the fast way, if it works."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.solvers.free_block import factor_free, solve_factored

_PATIENCE = 3


class BlockPivoting(NamedTuple):
    """What `block_pivoting` found.

    Attributes:
      x: ``[m]``, the minimiser but for the ridge of `factor_free`; 0 if it was not found.
      found: boolean, whether it was.
    """

    x: jax.Array
    found: jax.Array


def block_pivoting(matrix: jax.Array, vector: jax.Array, start: jax.Array) -> BlockPivoting:
    r"""Minimises :math:`x^T Q x / 2 + q^T x` over :math:`x \ge 0` by exchanging many at once.

    Júdice and Pires, "A block principal pivoting algorithm for large-scale strictly monotone linear
    complementarity problems", Computers and Operations Research 1994; Kim and Park, "Fast
    Nonnegative Matrix Factorization: An Active-Set-Like Method and Comparisons", SIAM Journal on
    Scientific Computing 2011. Solve for the entries that are free, then bind all that came out
    negative and free all that would gain. It takes two to five turns, where freeing one entry at a
    time takes one for each, but its points are not feasible and it may cycle. So it gives up once
    the number of entries to exchange has not fallen for three turns (where Kim and Park go on with
    single exchanges), and finds nothing where the equations are near singular.

    | input | result |
    |---|---|
    | `vector` >= 0 | 0, found |
    | the free block singular, or near to it | not found |
    | no minimum, or `matrix` not semidefinite | not found, or a stationary point |

    Args:
      matrix: ``[m, m]``, symmetric and positive semidefinite, with a diagonal of 1, or 0 in a row
        that is not counted.
      vector: ``[m]``, 0 in such a row.
      start: boolean ``[m]``, the entries that are free at first. If there are none, those that
        gain at 0 are.

    Returns:
      `BlockPivoting`. Where found, the gradient is not below 0 by more than rounding, nor above
      it where x > 0.

    >>> block_pivoting(jnp.eye(2), jnp.array([-3.0, 1.0]), jnp.zeros(2, bool)).x > 0
    Array([ True, False], dtype=bool)
    """
    size = vector.size
    alive = jnp.diagonal(matrix) > 0
    eps = jnp.finfo(vector.dtype).eps
    rounding = 2 * jnp.sum(alive) * eps
    gains = alive & (-vector > rounding * jnp.abs(vector))

    def turn(carry):
        free, _, fewest, left, _, _ = carry
        lower = factor_free(matrix, free)
        z = solve_factored(lower, -vector, free)
        slope = matrix @ z + vector
        slack = rounding * (jnp.abs(matrix) @ jnp.abs(z) + jnp.abs(vector))
        wrong = jnp.where(free, ~(z > 0), alive & (-slope > slack))
        number = jnp.sum(wrong)
        # A pivot that is small leaves z open along some direction: no matter for its turn, but
        # the result would not be exact. NaN pivots are not above it either.
        sound = jnp.min(jnp.diagonal(lower)) ** 2 > eps**0.5
        found = (number == 0) & sound
        falls = number < fewest
        left = jnp.where(falls, _PATIENCE, left - 1)
        over = (number == 0) | (left == 0) | ~jnp.isfinite(jnp.sum(z))
        return free ^ wrong, z, jnp.minimum(number, fewest), left, over, found

    free = jnp.where(jnp.any(start), start & alive, gains)
    none = ~jnp.any(free)
    zero = jnp.zeros_like(vector)
    number = jnp.full_like(jnp.sum(free), size + 1)
    carry = (free, zero, number, jnp.full_like(number, _PATIENCE), none, none)
    _, z, _, _, _, found = jax.lax.while_loop(lambda c: ~c[4], turn, carry)
    return BlockPivoting(jnp.where(found, z, 0), found)

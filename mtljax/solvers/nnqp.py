"""Quadratic problems with variables that may not be negative."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.solvers.block_pivoting import block_pivoting
from mtljax.solvers.free_block import solve_free


def nnqp(matrix: ArrayLike, vector: ArrayLike, start: ArrayLike | None = None) -> jax.Array:
    r"""Minimises :math:`x^T Q x / 2 + q^T x` over :math:`x \ge 0`, exactly.

    First by `block_pivoting`, which is fast. Where it finds nothing (the equations are singular
    or near to it, or it cycles), by the active set method of Lawson and Hanson, "Solving Least
    Squares Problems", chapter 23, on the normal equations: it solves for the entries that are
    free, steps back to the first bound that is hit, and frees the entry that gains most, until
    none gains. It takes about as many turns as entries are free in the end; the cap is 4 m + 4,
    and every turn is feasible.

    | input | x |
    |---|---|
    | `vector` >= 0 | 0 |
    | a zero row of `matrix` | 0 there |
    | `matrix` singular | one of the minimisers |
    | no minimum, or `matrix` not semidefinite | finite, >= 0 |

    Args:
      matrix: ``[m, m]``, symmetric and positive semidefinite. Its scale does not matter, nor that
        of a variable. Directions below 4 m machine epsilons count as flat.
      vector: ``[m]``.
      start: ``[m]``, not negative, to begin from; a good one saves turns. 0 by default.

    Returns:
      The minimiser ``[m]``. Its gradient is not below 0 by more than rounding.

    >>> nnqp(jnp.array([[2.0, 1.0], [1.0, 2.0]]), jnp.array([-3.0, 1.0]))
    Array([1.5, 0. ], dtype=float32)
    """
    matrix = jnp.asarray(matrix)
    root = jnp.sqrt(jnp.maximum(jnp.diagonal(matrix), 0))
    alive = root > 0
    inverse = jnp.where(alive, 1 / jnp.where(alive, root, 1), 0)
    scaled = matrix * inverse[:, None] * inverse
    begin = jnp.zeros_like(root) if start is None else jnp.where(alive, start * root, 0)
    return active_set(scaled, jnp.asarray(vector) * inverse, begin) * inverse


def active_set(matrix: jax.Array, vector: jax.Array, start: jax.Array) -> jax.Array:
    """`nnqp` of a matrix whose diagonal is 1, or 0 where the row is, as cosines have it."""
    size = vector.size
    alive = jnp.diagonal(matrix) > 0
    eps = jnp.sum(alive) * jnp.finfo(vector.dtype).eps
    vector = jnp.where(alive, vector, 0)

    def best(x: jax.Array, candidates: jax.Array) -> jax.Array:
        """The one candidate that gains most if freed, none if all lose: one-hot or zero."""
        gain = -(matrix @ x + vector)
        rounding = 2 * eps * (jnp.abs(matrix) @ x + jnp.abs(vector))
        gain = jnp.where(candidates & (gain > rounding), gain, 0)
        return (jnp.arange(size) == jnp.argmax(gain)) & (gain > 0)

    def turn(carry):
        count, x, free, barred, _ = carry
        z = solve_free(matrix, -vector, free)
        good = jnp.all(jnp.where(free, z > 0, True))  # False also where z is NaN
        # Back from z towards x, to the first entry that reaches 0. An entry that has just been
        # freed and would turn negative at once was a matter of rounding, as was one that the
        # factorisation fails on: it is barred until x moves.
        hit = free & ~(z > 0)
        ratio = jnp.where(hit, x / jnp.where(x > z, x - z, 1), 1)
        ratio = jnp.where(jnp.isfinite(ratio), ratio, 0)
        step = jnp.min(ratio)
        drop = hit & (ratio <= step)
        back = jnp.where(drop, 0, x + step * (jnp.where(step > 0, z, x) - x))
        barred = jnp.where(good, barred & ~jnp.any(z != x), barred | (drop & (x == 0)))
        x = jnp.where(good, z, jnp.maximum(back, 0))
        entering = best(x, alive & ~free & ~barred) & good
        return (
            count + 1,
            x,
            jnp.where(good, free | entering, free & ~drop),
            barred,
            good & ~jnp.any(entering),
        )

    fast = block_pivoting(matrix, vector, start > 0)
    free = start > 0
    free = free | (best(start, alive) & ~jnp.any(free))
    free = jnp.where(fast.found, fast.x > 0, free)
    x = jnp.where(fast.found, fast.x, start)
    carry = (0, x, free, jnp.zeros_like(free), fast.found | ~jnp.any(free))
    _, x, free, _, _ = jax.lax.while_loop(lambda c: ~c[4] & (c[0] < 4 * size + 4), turn, carry)
    # One step of refinement takes away what the ridge put in.
    refined = x + solve_free(matrix, -(matrix @ x + vector), free)
    return jnp.where(jnp.all(jnp.where(free, refined > 0, True)), refined, x)

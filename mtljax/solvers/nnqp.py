"""Quadratic problems with variables that may not be negative."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.solvers.free_block import factor_free, solve_factored

_PIVOTS = 12
"""Iterations of block pivoting at most: it takes two to five, or does not end."""


def nnqp(matrix: ArrayLike, vector: ArrayLike, start: ArrayLike | None = None) -> jax.Array:
    r"""Minimises :math:`x^T Q x / 2 + q^T x` over :math:`x \ge 0`, exactly.

    First by block pivoting (Júdice and Pires, "A block principal pivoting algorithm for
    large-scale strictly monotone linear complementarity problems", Computers and Operations
    Research 1994; Kim and Park, "Fast Nonnegative Matrix Factorization: An Active-Set-Like Method
    and Comparisons", SIAM Journal on Scientific Computing 2011): solve for the entries that are
    free, then bind all that came out negative and free all that would gain. It takes two to five
    iterations, but its points are not feasible and it may cycle. After twelve, or where the
    equations are singular or nearly so, by the active set method of Lawson and Hanson, "Solving
    Least Squares Problems", chapter 23, on the normal equations: solve for the entries that are
    free, step back to the first bound that is hit, and free the entry that gains most, until none
    gains. It takes about as many iterations as entries are free in the end, each feasible; the cap
    is 4 m + 4. An iteration is one Cholesky factorisation of ``[m, m]``.

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
      start: ``[m]``, not negative, to begin from; a good one saves iterations. 0 by default.

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
    return active_set(scaled, jnp.asarray(vector) * inverse, begin).x * inverse


class Search(NamedTuple):
    """The state of the search in `active_set`.

    Attributes:
      count: iterations so far.
      pivots: whether block pivoting is still running; until it is done it leaves `x` unchanged.
      x: ``[m]``, not negative.
      gradient: ``[m]``, of the objective at x; valid where the search rests.
      free: boolean ``[m]``, the entries that are not bound to 0.
      barred: boolean ``[m]``, the entries that may not be freed.
      rests: whether x solves the equations of the entries in `free`, and no other that may be
        freed would gain.
      done: whether the search rested and x was refined, if it could be.
    """

    count: jax.Array
    pivots: jax.Array
    x: jax.Array
    gradient: jax.Array
    free: jax.Array
    barred: jax.Array
    rests: jax.Array
    done: jax.Array


def active_set(matrix: jax.Array, vector: jax.Array, start: jax.Array) -> Search:
    """`nnqp` of a matrix with a diagonal of 1, as cosines have it, or 0 for a row of zeros.

    `vector` and `start` must be 0 for such a row.
    """
    size, eps = vector.size, jnp.finfo(vector.dtype).eps
    absolute, rounding = jnp.abs(matrix), 2 * eps * jnp.trace(matrix)

    # One loop body for both searches, and nothing before it: every part takes time to compile.
    def iterate(c: Search) -> Search:
        lower = factor_free(matrix, c.free)
        # Where x rests, one step of refinement removes what the ridge added.
        origin, gradient = jnp.where(c.rests, c.x, 0), jnp.where(c.rests, c.gradient, vector)
        z = origin + solve_factored(lower, -gradient, c.free)
        hit = c.free & ~(z > 0)  # true where z is NaN
        good = ~jnp.any(hit)
        # The step of Lawson and Hanson: from x towards z, to the first entry that reaches 0. An
        # entry that has just been freed and would become negative at once was freed by rounding,
        # as was one that the factorisation fails on: it is barred until x moves. If the
        # factorisation fails on the entries that it began from, all are dropped.
        just_freed = c.free & (c.x == 0)
        freed, decrease = jnp.any(just_freed), c.x - z
        lost = (freed & ~just_freed).astype(z.dtype)  # where z is NaN, the others do not move
        ratio = jnp.where(decrease > 0, c.x / jnp.where(decrease > 0, decrease, 1), lost)
        step = jnp.min(jnp.where(hit, ratio, 1))
        drop = hit & (ratio <= step)
        back = c.x + step * (jnp.where(step > 0, z, c.x) - c.x)
        back = jnp.where(drop, 0, jnp.maximum(back, 0))
        x = jnp.where(c.pivots | good, z, jnp.where(c.rests, c.x, back))
        gradient = matrix @ x + vector
        noise = rounding * (absolute @ jnp.abs(x) + jnp.abs(vector))
        moves = jnp.where(good, freed, step > 0)
        barred = ~c.pivots & ((c.barred & ~moves) | (drop & (c.x == 0)))
        gains = jnp.where(c.free | barred | (-gradient <= noise), 0, -gradient)
        wrong = hit | (gains > 0)
        quiet = ~jnp.any(wrong)
        # A small pivot of the factor leaves z undetermined along some direction, and the result
        # would not be exact. NaN pivots fail the comparison too.
        sound = jnp.min(jnp.diagonal(lower)) ** 2 > eps**0.5
        pivots = c.pivots & ~quiet & (c.count + 1 < _PIVOTS)
        moved = ~c.pivots | (quiet & sound)
        best = (jnp.arange(size) == jnp.argmax(gains)) & (gains > 0)
        # Block pivoting flips all wrong entries; the active set method one after the other.
        singly = jnp.where(good, c.free | best, c.free & ~drop)
        first = jnp.where(moved, c.free, start > 0)
        free = jnp.where(pivots, c.free ^ wrong, jnp.where(c.pivots, first, singly))
        return Search(
            count=c.count + 1,
            pivots=pivots,
            x=jnp.where(moved, x, c.x),
            gradient=gradient,
            free=free,
            barred=barred,
            rests=moved & quiet,
            done=c.rests & (quiet | ~good),
        )

    free = start > 0
    no, count = (jnp.zeros_like(vector, dtype, shape=()) for dtype in (bool, jnp.int32))
    begin = Search(count, ~no, start, vector, free, jnp.zeros_like(free), no, no)
    last = _PIVOTS + 4 * size + 4
    return jax.lax.while_loop(lambda c: ~c.done & (c.count < last), iterate, begin)

"""The shortest convex combination."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.solvers.nnqp import nnqp


def min_norm(cosines: ArrayLike, norms: ArrayLike, present: ArrayLike | None = None) -> jax.Array:
    r"""Minimises :math:`|\sum_i w_i g_i|` over the simplex, exactly.

    With :math:`b_i` the smallest norm over :math:`|g_i|` the problem is one of `nnqp`: minimise
    :math:`\nu y^T K y + (b^T y - 1)^2` over :math:`y \ge 0`; w is :math:`b_i y_i`, normalised.
    Any :math:`\nu > 0` gives the same w but for rounding. Three are tried, since rows of unlike
    norms, or rows that nearly cancel, suit different ones, and the shortest result is taken.

    | input | weights |
    |---|---|
    | one row | 1 |
    | zero rows | equal on these, 0 elsewhere |
    | identical rows | equal |
    | parallel rows of unlike norms | all on the shortest |
    | opposite rows, 1 to 3 | 3/4, 1/4 |
    | none present | 0 |

    Args:
      cosines: ``[T, T]``, of a `UnitGramian`.
      norms: ``[T]``.
      present: boolean ``[T]``; the others get 0.

    Returns:
      Weights ``[T]``, not negative, that sum to 1.

    >>> min_norm(jnp.eye(2), jnp.array([1.0, 2.0]))
    Array([0.8, 0.2], dtype=float32)
    """
    cosines, norms = jnp.asarray(cosines), jnp.asarray(norms)
    here = jnp.ones(norms.shape, bool) if present is None else jnp.asarray(present)
    zero = here & ~(norms > 0)
    rows = here & (norms > 0)
    shortest = jnp.min(jnp.where(rows, norms, jnp.inf))
    inverse = jnp.where(rows, shortest / jnp.where(rows, norms, 1), 0)
    cosines = jnp.where(rows[:, None] & rows, cosines, 0)
    weights = _pair(cosines, inverse) if norms.size == 2 else _active_sets(cosines, inverse)
    chosen = jnp.where(jnp.any(zero), zero.astype(norms.dtype), weights)
    total = jnp.sum(chosen)
    return chosen / jnp.where(total > 0, total, 1)


def _pair(cosines: jax.Array, inverse: jax.Array) -> jax.Array:
    """Two rows: in closed form, without the subtraction of numbers that are nearly equal."""
    ratio = jnp.min(inverse)  # of the shorter norm to the longer one
    apart, shorter = 1 - cosines[0, 1], 1 - ratio
    longer_weight = jnp.maximum(ratio * (apart - shorter), 0)
    weights = jnp.stack([ratio * apart + shorter, longer_weight])
    weights = jnp.where(inverse[0] >= inverse[1], weights, weights[::-1])
    # The rows are equal, or one of them is absent.
    plain = (inverse > 0).astype(inverse.dtype)
    return jnp.where((jnp.sum(weights) > 0) & jnp.all(inverse > 0), weights, plain)


def _active_sets(cosines: jax.Array, inverse: jax.Array) -> jax.Array:
    eps = jnp.finfo(inverse.dtype).eps
    rows = inverse > 0
    nus = jnp.array([1, 1e3, 1e6] if eps < 1e-10 else [1, 1e2, 1e4], inverse.dtype)
    ones = jnp.outer(inverse, inverse)

    def solve(nu: jax.Array) -> jax.Array:
        return nnqp(nu * cosines + ones, -inverse)

    # On a CPU one after the other is faster, and less to compile.
    solved = jax.lax.platform_dependent(
        nus, cpu=lambda nus: jax.lax.map(solve, nus), default=jax.vmap(solve)
    )
    # Candidates in unit rows: equal weights first, which are wanted where they are as good. Of the
    # rows alone the shortest is last.
    equal = jnp.where(rows, 1 / jnp.where(rows, inverse, 1), 0)
    shortest = jnp.where(jnp.arange(rows.size) == jnp.argmax(inverse), equal, 0)
    candidates = jnp.concatenate([equal[None], solved, shortest[None]])
    totals = candidates @ inverse
    candidates = candidates / jnp.where(totals > 0, totals, 1)[:, None]
    squares = jnp.sum((candidates @ cosines) * candidates, axis=1)
    squares = jnp.where(totals > 0, jnp.maximum(squares, 0), jnp.inf)
    as_good = squares <= jnp.min(squares) * (1 + 2 * eps)
    return candidates[jnp.argmax(as_good)] * inverse

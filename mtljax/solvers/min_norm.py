"""The shortest convex combination of gradients."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.solvers.nnqp import nnqp


def min_norm(cosines: ArrayLike, norms: ArrayLike, present: ArrayLike | None = None) -> jax.Array:
    r"""Minimises :math:`|\sum_i w_i g_i|` over the simplex, exactly.

    With :math:`b_i` the smallest norm over :math:`|g_i|` the problem is one of `nnqp`: minimise
    :math:`\nu y^T K y + (b^T y - 1)^2` over :math:`y \ge 0`; w is :math:`b_i y_i`, normalised.
    Any :math:`\nu > 0` gives the same w but for rounding. Three are tried, since gradients of
    different norms, or gradients that nearly cancel, suit different ones, and the shortest result
    is taken. The cost is that of three problems of `nnqp`; two gradients have a closed form.

    | input | weights |
    |---|---|
    | one gradient | 1 |
    | zero gradients | equal on these, 0 elsewhere |
    | identical gradients | equal |
    | parallel gradients of different norms | all on the shortest |
    | opposite gradients, norms 1 to 3 | 3/4, 1/4 |
    | none present | 0 |

    Args:
      cosines: ``[T, T]``, of a `UnitGramian`.
      norms: ``[T]``, of the gradients, not negative.
      present: boolean ``[T]``; the others get 0. None: all.

    Returns:
      Weights ``[T]``, not negative, that sum to 1.

    >>> min_norm(jnp.eye(2), jnp.array([1.0, 2.0]))
    Array([0.8, 0.2], dtype=float32)
    """
    cosines, norms = jnp.asarray(cosines), jnp.asarray(norms)
    counted = jnp.ones(norms.shape, bool) if present is None else jnp.asarray(present)
    zero = counted & ~(norms > 0)
    nonzero = counted & (norms > 0)
    shortest = jnp.min(jnp.where(nonzero, norms, jnp.inf))
    inverse = jnp.where(nonzero, shortest / jnp.where(nonzero, norms, 1), 0)
    cosines = jnp.where(nonzero[:, None] & nonzero, cosines, 0)
    weights = _pair(cosines, inverse) if norms.size == 2 else _active_sets(cosines, inverse)
    chosen = jnp.where(jnp.any(zero), zero.astype(norms.dtype), weights)
    total = jnp.sum(chosen)
    return chosen / jnp.where(total > 0, total, 1)


def _pair(cosines: jax.Array, inverse: jax.Array) -> jax.Array:
    """Two gradients: in closed form, without subtracting numbers that are nearly equal."""
    ratio = jnp.min(inverse)  # of the shorter norm to the longer one
    separation, shorter = 1 - cosines[0, 1], 1 - ratio
    longer_weight = jnp.maximum(ratio * (separation - shorter), 0)
    weights = jnp.stack([ratio * separation + shorter, longer_weight])
    weights = jnp.where(inverse[0] >= inverse[1], weights, weights[::-1])
    # The gradients are equal, or one of them is absent.
    equal_weights = (inverse > 0).astype(inverse.dtype)
    return jnp.where((jnp.sum(weights) > 0) & jnp.all(inverse > 0), weights, equal_weights)


def _active_sets(cosines: jax.Array, inverse: jax.Array) -> jax.Array:
    """Any number of gradients: the best of what `nnqp` makes for several values of nu."""
    eps = jnp.finfo(inverse.dtype).eps
    nonzero = inverse > 0
    nus = jnp.array([1, 1e3, 1e6] if eps < 1e-10 else [1, 1e2, 1e4], inverse.dtype)
    ones = jnp.outer(inverse, inverse)

    def solve(nu: jax.Array) -> jax.Array:
        return nnqp(nu * cosines + ones, -inverse)

    # On a CPU solving one after the other is faster, and less to compile.
    solved = jax.lax.platform_dependent(
        nus, cpu=lambda nus: jax.lax.map(solve, nus), default=jax.vmap(solve)
    )
    # Candidates in terms of unit gradients. Equal weights are first, and so chosen where they are
    # as good as others; the shortest gradient alone is last.
    equal = jnp.where(nonzero, 1 / jnp.where(nonzero, inverse, 1), 0)
    shortest = jnp.where(jnp.arange(nonzero.size) == jnp.argmax(inverse), equal, 0)
    candidates = jnp.concatenate([equal[None], solved, shortest[None]])
    totals = candidates @ inverse
    candidates = candidates / jnp.where(totals > 0, totals, 1)[:, None]
    squares = jnp.sum((candidates @ cosines) * candidates, axis=1)
    squares = jnp.where(totals > 0, jnp.maximum(squares, 0), jnp.inf)
    as_good = squares <= jnp.min(squares) * (1 + 2 * eps)
    return candidates[jnp.argmax(as_good)] * inverse

"""ConicGrad: the best direction for the task that gains least, at an angle to the mean gradient."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.solvers.least_change import raise_least_gain
from mtljax.solvers.min_norm import min_norm
from mtljax.weighting.common.arguments import check_range
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import (
    check_preference,
    equal_weights,
    preference,
    stateless,
)
from mtljax.weighting.common.unit_vectors import from_unit_weights


def conic_grad(
    c: float | jax.Array = 0.5, pref: Sequence[float] | np.ndarray | None = None
) -> Weighting:
    r"""Maximises the least gain of a task within a cone around the mean gradient.

    Hassanpour, Janjua, Zhang, Lavasani, Zhang, Zhou and Gao, "Fantastic Multi-Task Gradient Updates
    and How to Find Them In a Cone", arXiv 2502.00217:

    .. math:: \max_d \min_i \langle g_i, d \rangle \quad \text{s.t. }
        \langle g_0, d \rangle \ge c |g_0| |d|, \; |d| = |g_0|, \qquad g_0 = \sum_i u_i g_i .

    Solved exactly. If the shortest convex combination of the gradients (`solvers.min_norm`) lies in
    the cone, d points along it. Otherwise d is on the cone's surface, and what is added to g0 at a
    right angle is that of the search of `solvers.least_change`, with radius
    :math:`|g_0| \sqrt{1 - c^2} / c`. Unlike `cagrad` it never makes d longer than g0. With c = 1 it
    is the mean, with c = 0 the direction of `mgda`.

    Signals: ``gramian``. Stateless.

    | input | weights |
    |---|---|
    | one task | 1 |
    | identical gradients | d = g0 |
    | g0 zero up to rounding, all gradients zero | u |
    | a zero gradient, or none improves all | nearest to g0 without a loss, if in the cone |

    When to use: as `cagrad`, where the step should have the length of the mean gradient and stay
    within a given angle of it.

    Args:
      c: the cosine of the largest angle between d and g0, in [0, 1].
      pref: u, how much each task counts in g0; need not sum to 1. None is 1/m each.

    Returns:
      A stateless `Weighting`. Its `init` raises ValueError if `pref` has another length.

    Raises:
      TypeError: pref is not made of numbers.
      ValueError: c is outside [0, 1], or pref is negative somewhere, not finite, or all 0.

    >>> method = conic_grad(c=0.0)
    >>> method.update(jnp.ones(2), method.init(2), gramian=jnp.diag(jnp.array([1.0, 4.0])))[0]
    Array([1.  , 0.25], dtype=float32)
    """
    check_range("c", c, 0, 1)
    pref = check_preference(pref)

    def update(losses, state, *, present, gramian):
        del losses
        cosines, norms = gramian
        shares = preference(pref, present, "mean", norms.dtype)
        lengths = shares * norms
        longest = jnp.max(lengths)
        mean = lengths / jnp.where(longest > 0, longest, 1)
        gains = cosines @ mean
        square = mean @ gains
        rounding = 4 * jnp.sum(norms > 0) * jnp.finfo(norms.dtype).eps
        resolved = square > rounding * jnp.sum(mean) ** 2

        shortest = min_norm(cosines, norms, present) * norms
        shortest = shortest / jnp.where(jnp.max(shortest) > 0, jnp.max(shortest), 1)
        reached = jnp.maximum(shortest @ cosines @ shortest, 0)
        improves = reached > rounding * jnp.sum(shortest) ** 2
        in_cone = improves & (shortest @ gains >= c * jnp.sqrt(reached * square))

        direction = jnp.where(
            in_cone, shortest, _on_surface(cosines, norms, present, mean, gains, c)
        )
        length = jnp.sqrt(jnp.maximum(direction @ cosines @ direction, 0))
        stretched = direction * (jnp.sqrt(square) / jnp.where(length > 0, length, 1))
        weights = from_unit_weights(longest * stretched, norms)
        return jnp.where(resolved & (length > 0), weights, shares), state

    return guard(
        stateless(pref),
        update,
        fallback=lambda state, counted: equal_weights(counted, "mean"),
        requires=("gramian",),
    )


def _on_surface(
    cosines: jax.Array,
    norms: jax.Array,
    present: jax.Array,
    mean: jax.Array,
    gains: jax.Array,
    c: float | jax.Array,
) -> jax.Array:
    """The best direction of the cone's surface, in unit gradients ``[T]``.

    Args:
      cosines: ``[T, T]``.
      norms: ``[T]``, of the gradients.
      present: boolean ``[T]``.
      mean: ``[T]``, the axis of the cone in unit gradients.
      gains: ``[T]``, inner products of the unit gradients and the axis.
      c: the cosine of the angle between axis and surface.
    """
    square = mean @ gains
    safe_square = jnp.where(square > 0, square, 1)
    # The parts of the unit gradients at a right angle to the axis, and these at length 1.
    across = cosines - jnp.outer(gains, gains) / safe_square
    size = jnp.sqrt(jnp.maximum(jnp.diagonal(across), 0))
    nonzero = norms > 0
    # What is parallel to the axis up to rounding gains the same on all of the surface.
    rounding = 8 * jnp.sum(nonzero) * jnp.finfo(norms.dtype).eps
    turns = nonzero & (size**2 > rounding)
    inverse = jnp.where(turns, 1 / jnp.where(turns, size, 1), 0)
    across = jnp.clip(across * inverse[:, None] * inverse, -1, 1)
    across = jnp.where(jnp.eye(norms.size, dtype=bool), turns.astype(norms.dtype), across)

    shortest = jnp.min(jnp.where(nonzero, norms, jnp.inf))
    asks = jnp.where(nonzero, shortest / jnp.where(nonzero, norms, 1), 0)
    fixed = jnp.where(asks > 0, gains / jnp.where(asks > 0, asks, 1), 0)
    most = jnp.min(jnp.where(present & ~turns, jnp.maximum(fixed, 0), jnp.inf))
    cosine = jnp.asarray(c, norms.dtype)
    tangent_square = (1 - cosine**2) / jnp.maximum(cosine**2, jnp.finfo(norms.dtype).eps)
    scaled_asks, unit = asks * inverse, jnp.max(asks * inverse)
    y = raise_least_gain(
        across,
        gains * inverse,
        scaled_asks / jnp.where(unit > 0, unit, 1),
        tangent_square * square,
        most * unit,
    )
    added = y * inverse
    return mean * (1 - (added @ gains) / safe_square) + added

"""The direction within a ball that does best for the task that gains least."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.solvers.free_block import solve_free
from mtljax.solvers.nnqp import active_set

_ROUNDS = 24


def least_change(
    cosines: ArrayLike,
    norms: ArrayLike,
    lengths: ArrayLike,
    radius: ArrayLike,
    present: ArrayLike | None = None,
) -> jax.Array:
    r"""Maximises :math:`\min_i \langle g_i, d \rangle` over :math:`|d - g_0| \le c |g_0|`.

    The nearest direction in which all tasks gain :math:`\gamma` is :math:`d = g_0 + U^T y`, with
    y from a problem of `nnqp`. Its distance from :math:`g_0` is convex in :math:`\gamma`, and the
    square of it is quadratic as long as the active set stays. So the gain for which the distance
    is the radius comes from a few quadratic equations: solve that of the present active set, find
    the active set there, repeat until it stays. A bracket guards it. It takes 24 problems of
    `nnqp` at most, each begun from the solution of the one before.

    Where the best direction is not unique (zero in the convex hull of the gradients: no direction
    improves all tasks), it is the nearest one, for a gain of 0. Hulls that come as near to zero
    as the rounding of a Gramian, the root of 4 T machine epsilons, count as such.

    | input | y |
    |---|---|
    | g0 zero, up to rounding | 0 |
    | radius 0 | 0 |
    | zero in the hull, or a zero gradient | that of `dual_cone`, if it is within the ball |
    | one gradient | c times its length |

    Args:
      cosines: ``[T, T]``, of a `UnitGramian`.
      norms: ``[T]``, of the gradients, not negative.
      lengths: ``[T]``, of the unit gradients in g0: for weights w, ``w * norms``.
      radius: c, a scalar of 0 or more, relative to the length of g0.
      present: boolean ``[T]``; the others get 0. None: all.

    Returns:
      What to add to `lengths`, y ``[T]``, not negative.

    >>> least_change(jnp.eye(2), jnp.array([1.0, 1.0]), jnp.array([0.5, 0.5]), 1.0)
    Array([0.5, 0.5], dtype=float32)
    """
    cosines, norms = jnp.asarray(cosines), jnp.asarray(norms)
    counted = jnp.ones(norms.shape, bool) if present is None else jnp.asarray(present)
    nonzero = counted & (norms > 0)
    cosines = jnp.where(nonzero[:, None] & nonzero, cosines, 0)
    rounding = 4 * jnp.sum(nonzero) * jnp.finfo(cosines.dtype).eps
    lengths = jnp.where(nonzero, lengths, 0)
    longest = jnp.max(jnp.abs(lengths))
    shares = lengths / jnp.where(longest > 0, longest, 1)
    # A gain is in units of the longest length times the shortest norm: task i must get
    # <u_i, d> >= gain * asks_i.
    shortest = jnp.min(jnp.where(nonzero, norms, jnp.inf))
    asks = jnp.where(nonzero, shortest / jnp.where(nonzero, norms, 1), 0)
    gains = cosines @ shares
    square = shares @ gains
    resolved = square > rounding * jnp.sum(jnp.abs(shares)) ** 2
    limit = jnp.where(resolved, jnp.asarray(radius, shares.dtype) ** 2 * square, 0)
    # A gradient of zero gains nothing, and the least gain is 0 at most.
    most = jnp.where(jnp.any(counted & ~nonzero), 0, jnp.inf)
    return longest * raise_least_gain(cosines, gains, asks, limit, most)


def raise_least_gain(
    cosines: jax.Array, gains: jax.Array, asks: jax.Array, limit: jax.Array, most: jax.Array
) -> jax.Array:
    r"""The search of `least_change`, for any gains to begin from.

    Maximises :math:`\min_i (h_i + \langle u_i, U^T y \rangle) / a_i` over
    :math:`|U^T y|^2 \le` `limit` and :math:`y \ge 0`.

    Args:
      cosines: ``[T, T]``, of unit vectors u; 0 in the rows and columns of those that do not count.
      gains: h ``[T]``.
      asks: a ``[T]``, positive, at most 1; 0 for those that do not count.
      limit: the square of the radius, 0 or more.
      most: no gain above it is looked for; 0 or more.

    Returns:
      y ``[T]``, not negative; 0 where the limit is.
    """
    rounding = 4 * jnp.sum(asks > 0) * jnp.finfo(cosines.dtype).eps
    largest = jnp.finfo(cosines.dtype).max / 4

    def nearest(gain: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns, for a gain, y and the squared distance; infinite if the hull may contain 0."""
        y = active_set(cosines, gains - gain * asks, start).x
        added = cosines @ y
        distance = jnp.maximum(y @ added, 0)
        # Without a solution y cancels, or the gain that is asked for is not reached.
        cancels = distance <= rounding * jnp.sum(y) ** 2
        misses = y @ (gains + added) < gain * (asks @ y) / 2
        lost = (gain > 0) & jnp.any(y > 0) & (cancels | misses)
        return y, jnp.where(lost, jnp.inf, distance)

    def to_limit(y: jax.Array, distance: jax.Array) -> jax.Array:
        """Returns by how much to change the gain to reach the radius, if the active set stays."""
        free = y > 0
        most = jnp.max(jnp.where(free, asks, 0))
        asked = jnp.where(free, asks / jnp.where(most > 0, most, 1), 0)
        derivative, curvature = asked @ y, asked @ solve_free(cosines, asked, free)
        excess = distance - limit
        root = jnp.sqrt(jnp.maximum(derivative**2 - curvature * excess, 0))
        return -excess / ((derivative + root) * most)

    def search(carry):
        # `low` and `high` are gains within and beyond the radius; `seen`, whether `high` was met.
        count, gain, y, before, low, best, high, seen, _ = carry
        proposed = gain + to_limit(y, before)
        aim = jnp.minimum(proposed, high)
        aimed = (aim > low) & ((aim < high) | ~seen)
        gain = jnp.where(
            aimed, aim, jnp.where(jnp.isinf(before), low / 8 * 7 + high / 8, low / 2 + high / 2)
        )
        new, distance = nearest(gain, jnp.where(jnp.isinf(before), best, y))
        stays = aimed & (proposed <= high) & jnp.all((new > 0) == (y > 0)) & jnp.isfinite(distance)
        # On the same quadratic piece its root is exact, unless a second step on it still helps.
        within = rounding * limit + jnp.finfo(y.dtype).eps * jnp.sum(new) ** 2
        excess, excess_before = jnp.abs(distance - limit), jnp.abs(before - limit)
        exact = (stays & (excess > excess_before / 2)) | (excess <= within)
        inside = distance <= limit
        return (
            count + 1,
            gain,
            new,
            distance,
            jnp.where(inside, gain, low),
            jnp.where(inside | exact, new, best),
            jnp.where(inside, high, gain),
            seen | ~inside,
            exact,
        )

    asked = jnp.where(asks > 0, asks, 1)
    # Even alone, task i gains no more than |g_i| (<u_i, g0> + c |g0|).
    upper = jnp.min(jnp.where(asks > 0, (gains + jnp.sqrt(limit)) / asked, largest))
    upper = jnp.minimum(upper, most)
    lower = jnp.min(jnp.where(asks > 0, gains / asked, largest))
    y, distance = nearest(jnp.zeros_like(limit), jnp.zeros_like(gains))
    inside = distance <= limit
    carry = (
        0,
        jnp.zeros_like(limit),
        y,
        distance,
        jnp.where(inside, 0, jnp.maximum(lower, -largest)),
        jnp.where(inside, y, 0),
        jnp.where(inside, jnp.clip(upper, 0, largest), 0),
        ~inside,
        ~(limit > 0) | (inside & ~(most > 0)),
    )
    best = jax.lax.while_loop(lambda c: ~c[8] & (c[0] < _ROUNDS), search, carry)[5]
    return jnp.where(limit > 0, best, 0)

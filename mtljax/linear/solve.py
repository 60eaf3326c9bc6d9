"""Which solver a problem takes, and the hinge as a sequence of smooth problems."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.linear import span
from mtljax.linear.minimize import proximal_gradient
from mtljax.linear.point_losses import LOSSES, PointLoss, anchored_hinge
from mtljax.linear.problem import Point, Problem, all_scores, duality_gap, measured

_OUTER_STEPS = 60
_FIRST_WIDTH, _LAST_WIDTH, _NARROWER = 1.0, 1e-2, 4
_PART = 30
"""The part of what is wrong now that a smooth problem of the sequence leaves to the next."""


class _Solved(NamedTuple):
    """What a solver of a smooth loss comes to.

    Attributes:
      state: of the solver, where it begins the next time.
      slopes: ``[n]``, multipliers of the dual problem.
      objective: of the loss that is told apart from the one minimized, a scalar.
      gap: of that.
      steps: taken.
    """

    state: Any
    slopes: jax.Array
    objective: jax.Array
    gap: jax.Array
    steps: jax.Array


class _Solver(NamedTuple):
    """Begins at a point with a loss; minimizes a smooth loss; and says where it stands.

    Attributes:
      begin: ``(loss, point) -> state``.
      minimize: ``(loss, told, state, goal, max_steps) -> _Solved``.
      point: ``state -> Point``.
    """

    begin: Callable[[PointLoss, Point], Any]
    minimize: Callable[[PointLoss, PointLoss, Any, span.Goal, jax.Array], _Solved]
    point: Callable[[Any], Point]


def solved(
    problem: Problem,
    loss: str,
    start: Point,
    measure_start: bool,
    tolerance: jax.Array,
    max_steps: jax.Array,
) -> tuple[Point, jax.Array, jax.Array, jax.Array]:
    """Minimizes a checked problem.

    Args:
      problem: the problem.
      loss: by its name in `LOSSES`.
      start: where to begin.
      measure_start: whether the start may be good enough.
      tolerance: the gap to reach, relative to the objective.
      max_steps: steps, at most.

    Returns:
      The point, its objective and gap, and the steps taken.
    """
    solver = _in_span(problem) if problem.omega.norm == "none" else _proximal(problem)
    point_loss = LOSSES[loss]
    minimize = _hinge_by_points if loss == "hinge" else _smooth

    def kept() -> tuple[Point, jax.Array, jax.Array]:
        slopes = point_loss.slope(all_scores(problem, start), problem.targets)
        return start, slopes, jnp.zeros((), jnp.int32)

    def moved() -> tuple[Point, jax.Array, jax.Array]:
        return minimize(problem, solver, point_loss, start, tolerance, max_steps)

    is_open = max_steps > 0
    if measure_start:
        objective, gap = measured(problem, point_loss, point_loss, start)
        is_open = is_open & ~(gap <= tolerance * objective)
    point, slopes, steps = jax.lax.cond(is_open, moved, kept)
    return point, *duality_gap(problem, point_loss, point, slopes), steps


def _in_span(problem: Problem) -> _Solver:
    def minimize(
        loss: PointLoss, told: PointLoss, state: Any, goal: span.Goal, max_steps: jax.Array
    ) -> _Solved:
        state, certificate, steps = span.lbfgs(problem, loss, state, goal, max_steps)
        if told is not loss:
            state, certificate = span.refreshed(problem, state, certificate)
        objective, gap = span.certified(problem, told, state, certificate)
        gap = jnp.where(jnp.isfinite(certificate.gap), gap, jnp.inf)
        return _Solved(state, certificate.slopes, objective, gap, steps)

    return _Solver(
        lambda loss, point: span.begun(problem, loss, point),
        minimize,
        lambda state: span.point_of(problem, state),
    )


def _proximal(problem: Problem) -> _Solver:
    def minimize(
        loss: PointLoss, told: PointLoss, state: Point, goal: span.Goal, max_steps: jax.Array
    ) -> _Solved:
        def gap_of(point: Point) -> tuple[jax.Array, jax.Array]:
            objective, gap = measured(problem, loss, loss, point)
            return gap, goal(objective)

        point, _, steps = proximal_gradient(problem, loss, state, gap_of, max_steps)
        slopes = loss.slope(all_scores(problem, point), problem.targets)
        return _Solved(point, slopes, *duality_gap(problem, told, point, slopes), steps)

    return _Solver(lambda _, point: point, minimize, lambda point: point)


def _smooth(
    problem: Problem,
    solver: _Solver,
    loss: PointLoss,
    start: Point,
    tolerance: jax.Array,
    max_steps: jax.Array,
) -> tuple[Point, jax.Array, jax.Array]:
    """The point, slopes of its losses, and the steps."""
    begun = solver.begin(loss, start)
    found = solver.minimize(loss, loss, begun, lambda value: tolerance * value, max_steps)
    return solver.point(found.state), found.slopes, found.steps


class _Outer(NamedTuple):
    """The state of the proximal point method on the dual of the hinge."""

    found: _Solved
    anchor: jax.Array
    width: jax.Array
    index: jax.Array


def _hinge_by_points(
    problem: Problem,
    solver: _Solver,
    hinge: PointLoss,
    start: Point,
    tolerance: jax.Array,
    max_steps: jax.Array,
) -> tuple[Point, jax.Array, jax.Array]:
    """As `_smooth`, by smooth problems that are rounded less, each around the last one's slopes."""
    dtype = problem.targets.dtype
    signs = 2 * problem.targets - 1

    def step(outer: _Outer) -> _Outer:
        before = outer.found
        found = solver.minimize(
            anchored_hinge(outer.anchor, outer.width),
            hinge,
            before.state,
            lambda value: jnp.maximum(tolerance * value, before.gap) / _PART,
            max_steps - before.steps,
        )
        gap = jnp.minimum(found.gap, jnp.finfo(dtype).max)
        found = found._replace(gap=gap, steps=before.steps + found.steps)
        width = jnp.maximum(outer.width / _NARROWER, _LAST_WIDTH)
        return _Outer(found, -signs * found.slopes, width, outer.index + 1)

    def is_open(outer: _Outer) -> jax.Array:
        done = outer.found.gap <= tolerance * outer.found.objective
        return ~done & (outer.index < _OUTER_STEPS) & (outer.found.steps < max_steps)

    slopes = hinge.slope(all_scores(problem, start), problem.targets)
    objective, gap = duality_gap(problem, hinge, start, slopes)
    zero = jnp.zeros((), jnp.int32)
    first = _Solved(solver.begin(hinge, start), slopes, objective, gap, zero)
    width = jnp.asarray(_FIRST_WIDTH, dtype)
    last = jax.lax.while_loop(is_open, step, _Outer(first, -signs * slopes, width, zero))
    return solver.point(last.found.state), last.found.slopes, last.found.steps

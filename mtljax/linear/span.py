"""Smooth problems with a quadratic penalty, solved in the span of their samples."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.linear.point_losses import PointLoss
from mtljax.linear.problem import Point, Problem, all_scores, balanced

_MEMORY = 20
_SEARCH = 40
"""Trials of one search along a line: each costs as much as a loss of each sample, no product."""
_ENOUGH = 0.1
"""How far a search lowers the slope along its line."""
_PATIENCE = 100
"""Steps after which a solver stops that came no nearer: no more can be had in this dtype."""


class SpanPoint(NamedTuple):
    r"""Weights :math:`M^{-1} X^\top \beta` and intercepts, by what samples have.

    Attributes:
      place: ``[n + T]``, the multipliers beta of the samples, then the intercepts.
      image: ``[n + T]``, their image under the metric; of multipliers the scores they give.
    """

    place: jax.Array
    image: jax.Array


class Certificate(NamedTuple):
    """A point of the dual problem.

    Attributes:
      slopes: ``[n]``, that sum to 0 for each task that has an intercept.
      products: ``[n]``, the scores of these slopes, weighted, as multipliers.
      gap: of the loss that was minimized.
    """

    slopes: jax.Array
    products: jax.Array
    gap: jax.Array


Goal = Callable[[jax.Array], jax.Array]
"""From an objective to the gap that is small enough."""


def weights_of(problem: Problem, multipliers: jax.Array) -> jax.Array:
    """The weights ``[T, d]`` of multipliers ``[n]``."""
    return problem.inverse @ problem.passes.summed(multipliers)


def products_of(problem: Problem, multipliers: jax.Array) -> jax.Array:
    """The scores ``[n]``, without intercepts, of the weights of multipliers ``[n]``."""
    return problem.passes.scores(weights_of(problem, multipliers))


def point_of(problem: Problem, span: SpanPoint) -> Point:
    """Weights and intercepts."""
    count = problem.task.shape[0]
    return Point(weights_of(problem, span.place[:count]), span.place[count:])


def certified(
    problem: Problem, loss: PointLoss, span: SpanPoint, certificate: Certificate
) -> tuple[jax.Array, jax.Array]:
    """The objective with any loss, and its gap to the value of a certificate in the dual."""
    count, alpha, targets = problem.task.shape[0], problem.alpha, problem.targets
    values = jnp.sum(alpha * loss.value(_scores(problem, span), targets))
    objective = values + jnp.vdot(span.place[:count], span.image[:count]) / 2
    slopes = alpha * certificate.slopes
    dual = jnp.sum(alpha * loss.conjugate(certificate.slopes, targets))
    return objective, objective + dual + jnp.vdot(slopes, certificate.products) / 2


def refreshed(
    problem: Problem, span: SpanPoint, certificate: Certificate
) -> tuple[SpanPoint, Certificate]:
    """With the image computed anew: rounding of many steps added up in it."""
    count = problem.task.shape[0]
    multipliers = span.place[:count]
    image = _metric(problem, span.place, products_of(problem, multipliers))
    if not problem.intercept:
        moved = span.image[:count] - image[:count]
        certificate = certificate._replace(products=certificate.products + moved)
    return SpanPoint(span.place, image), certificate


class _Memory(NamedTuple):
    """The last changes of a point and of its gradient, with their images, ``[m, n + T]`` each."""

    points: SpanPoint
    gradients: SpanPoint
    inverse_curvatures: jax.Array
    scale: jax.Array


class _State(NamedTuple):
    span: SpanPoint
    gradient: SpanPoint
    memory: _Memory
    certificate: Certificate
    enough: jax.Array
    best: jax.Array
    best_at: jax.Array
    steps: jax.Array


def begun(problem: Problem, loss: PointLoss, start: Point) -> SpanPoint:
    """The best multiple of what the slopes at a point say that its multipliers are."""
    count, tasks = problem.task.shape[0], problem.num_tasks
    slopes = loss.slope(all_scores(problem, start), problem.targets)
    multipliers = -problem.alpha * (balanced(problem, slopes) if problem.intercept else slopes)
    none = jnp.zeros(tasks, multipliers.dtype)
    intercept = start.intercept if problem.intercept else none
    origin = jnp.concatenate([jnp.zeros(count, none.dtype), intercept])
    at_origin = SpanPoint(origin, _metric(problem, origin, jnp.zeros(count, none.dtype)))
    line = jnp.concatenate([multipliers, none])
    along = SpanPoint(line, _metric(problem, line, products_of(problem, multipliers)))
    return _moved(at_origin, along, _search(problem, loss, at_origin, along))


def lbfgs(
    problem: Problem, loss: PointLoss, span: SpanPoint, goal: Goal, max_steps: Any
) -> tuple[SpanPoint, Certificate, jax.Array]:
    r"""Minimizes losses and a positive definite quadratic form by L-BFGS (Liu and Nocedal 1989).

    The minimizer is :math:`M^{-1} X^\top \beta` for multipliers of the samples (the representer
    theorem), and so are all gradients in the metric of the penalty: vectors have one number a
    sample, whatever the number of features and tasks. A step takes one product with the features
    and one with their transpose, however long its search along the line is, since the scores on a
    line are a line; the gap comes with it.

    Args:
      problem: with no norm.
      loss: a smooth loss.
      span: where to begin.
      goal: what gap is small enough.
      max_steps: steps, at most.

    Returns:
      The point, the certificate of its gap, and the steps taken.
    """
    size, dtype = span.place.size, span.place.dtype

    def gradient_at(span: SpanPoint, goal: Goal) -> tuple[SpanPoint, Certificate, jax.Array]:
        count, alpha = problem.task.shape[0], problem.alpha
        slopes = loss.slope(_scores(problem, span), problem.targets)
        multipliers = span.place[:count] + alpha * slopes
        products = products_of(problem, multipliers)
        intercepts = jnp.zeros(problem.num_tasks, dtype)
        if problem.intercept:
            intercepts = intercepts.at[problem.task].add(alpha * slopes) / problem.counts
        place = jnp.concatenate([multipliers, intercepts])
        gradient = SpanPoint(place, _metric(problem, place, products))
        found = Certificate(slopes, products - span.image[:count], jnp.zeros((), dtype))
        objective, gap = certified(problem, loss, span, found)
        enough = goal(objective)
        if problem.intercept:
            # Slopes are no point of the dual before they sum to 0. Whether it pays to make them so
            # is seen from those that are not.
            def exact() -> Certificate:
                feasible = balanced(problem, slopes)
                at = Certificate(feasible, products_of(problem, alpha * feasible), gap)
                return at._replace(gap=certified(problem, loss, span, at)[1])

            far = found._replace(gap=jnp.full_like(gap, jnp.inf))
            found = jax.lax.cond(gap <= enough, exact, lambda: far)
        else:
            found = found._replace(gap=gap)
        return gradient, found, enough

    def step(state: _State) -> _State:
        direction = _direction(state.gradient, state.memory, state.steps)
        length = _search(problem, loss, state.span, direction)
        span = _moved(state.span, direction, length)
        gradient, certificate, enough = gradient_at(span, goal)
        change = jax.tree.map(lambda leaf: length * leaf, direction)
        turn = jax.tree.map(jnp.subtract, gradient, state.gradient)
        memory = _remembered(state.memory, change, turn, state.steps)
        # By the slope that a step left, where intercepts let no gap be seen yet.
        left = jnp.vdot(gradient.place, gradient.image)
        nearer = left < 0.99 * state.best
        steps = state.steps + 1
        return _State(
            span, gradient, memory, certificate, enough, jnp.where(nearer, left, state.best),
            jnp.where(nearer, steps, state.best_at), steps,
        )  # fmt: skip

    def is_open(state: _State) -> jax.Array:
        waited = state.steps - state.best_at
        done = state.certificate.gap <= state.enough
        return ~done & (state.steps < max_steps) & (waited < _PATIENCE)

    gradient, certificate, enough = gradient_at(span, goal)
    empty = jnp.zeros((_MEMORY, size), dtype)
    square = jnp.vdot(gradient.place, gradient.image)
    memory = _Memory(
        SpanPoint(empty, empty), SpanPoint(empty, empty), jnp.zeros(_MEMORY, dtype),
        1 / jnp.maximum(1, jnp.sqrt(jnp.maximum(square, 0))),
    )  # fmt: skip
    zero = jnp.zeros((), jnp.int32)
    first = _State(span, gradient, memory, certificate, enough, square, zero, zero)
    last = jax.lax.while_loop(is_open, step, first)
    return last.span, last.certificate, last.steps


def _metric(problem: Problem, place: jax.Array, products: jax.Array) -> jax.Array:
    """The image of multipliers and intercepts; an intercept has the length of its samples."""
    count = problem.task.shape[0]
    return jnp.concatenate([products, problem.counts * place[count:]])


def _scores(problem: Problem, span: SpanPoint) -> jax.Array:
    count = problem.task.shape[0]
    return span.image[:count] + span.place[count:][problem.task]


def _moved(span: SpanPoint, direction: SpanPoint, length: jax.Array) -> SpanPoint:
    return jax.tree.map(lambda x, d: x + length * d, span, direction)


def _direction(gradient: SpanPoint, memory: _Memory, steps: jax.Array) -> SpanPoint:
    """Minus the gradient times the inverse Hessian that the memory tells, by two loops."""

    def back(age: Any, carry: tuple[SpanPoint, jax.Array]) -> tuple[SpanPoint, jax.Array]:
        direction, shares = carry
        slot = (steps - 1 - age) % _MEMORY
        share = memory.inverse_curvatures[slot]
        share = share * jnp.vdot(memory.points.image[slot], direction.place)
        taken = jax.tree.map(lambda x, y: x - share * y[slot], direction, memory.gradients)
        return taken, shares.at[slot].set(share)

    def forth(index: Any, carry: tuple[SpanPoint, jax.Array]) -> tuple[SpanPoint, jax.Array]:
        direction, shares = carry
        slot = (steps + index) % _MEMORY
        share = memory.inverse_curvatures[slot]
        share = shares[slot] - share * jnp.vdot(memory.gradients.image[slot], direction.place)
        return jax.tree.map(lambda x, s: x + share * s[slot], direction, memory.points), shares

    shares = jnp.zeros_like(memory.inverse_curvatures)
    direction, shares = jax.lax.fori_loop(0, _MEMORY, back, (gradient, shares))
    direction = jax.tree.map(lambda leaf: memory.scale * leaf, direction)
    direction, _ = jax.lax.fori_loop(0, _MEMORY, forth, (direction, shares))
    return jax.tree.map(jnp.negative, direction)


def _remembered(memory: _Memory, change: SpanPoint, turn: SpanPoint, steps: jax.Array) -> _Memory:
    """With the last step in the place of the oldest, unless rounding left no curvature of it."""
    slot = steps % _MEMORY
    curvature = jnp.vdot(change.image, turn.place)
    square = jnp.vdot(turn.image, turn.place)
    good = (curvature > 0) & (square > 0)
    points, gradients = (
        jax.tree.map(lambda kept, new: kept.at[slot].set(new), *pair)
        for pair in ((memory.points, change), (memory.gradients, turn))
    )
    inverse = jnp.where(good, 1 / jnp.where(good, curvature, 1), 0)
    scale = jnp.where(good, curvature / jnp.where(good, square, 1), memory.scale)
    inverses = memory.inverse_curvatures.at[slot].set(inverse)
    return _Memory(points, gradients, inverses, scale)


def _search(problem: Problem, loss: PointLoss, span: SpanPoint, direction: SpanPoint) -> jax.Array:
    """How far to go: where the slope of the objective along the line is nearly 0.

    By Newton's method in one variable, with bounds that it stays within.
    """
    count, targets = problem.task.shape[0], problem.targets
    scores, change = _scores(problem, span), _scores(problem, direction)
    ahead = jnp.vdot(span.place[:count], direction.image[:count])
    square = jnp.vdot(direction.place[:count], direction.image[:count])

    def slope_at(length: jax.Array) -> tuple[jax.Array, jax.Array]:
        slopes, bent = jax.jvp(
            lambda z: loss.slope(z, targets), (scores + length * change,), (change,)
        )
        slope, curvature = (jnp.vdot(problem.alpha * x, change) for x in (slopes, bent))
        return slope + ahead + length * square, curvature + square

    def nearer(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        length, low, high, slope, curvature, index = carry
        low, high = jnp.where(slope < 0, length, low), jnp.where(slope < 0, high, length)
        tried = length - slope / jnp.where(curvature > 0, curvature, 1)
        middle = jnp.where(high < jnp.inf, (low + high) / 2, 2 * length + 1)
        length = jnp.where((tried > low) & (tried < high), tried, middle)
        return length, low, high, *slope_at(length), index + 1

    zero, one = jnp.zeros((), scores.dtype), jnp.ones((), scores.dtype)
    first, _ = slope_at(zero)

    def is_open(carry: tuple[jax.Array, ...]) -> jax.Array:
        return (jnp.abs(carry[3]) > _ENOUGH * jnp.abs(first)) & (carry[-1] < _SEARCH)

    start = (one, zero, jnp.full_like(one, jnp.inf), *slope_at(one), jnp.zeros((), jnp.int32))
    length = jax.lax.while_loop(is_open, nearer, start)[0]
    return jnp.where(first < 0, length, 0)

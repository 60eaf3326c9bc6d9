"""The solver of problems with a norm, a compiled loop of a fixed shape."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtljax.linear.norms import NORMS
from mtljax.linear.point_losses import PointLoss
from mtljax.linear.problem import Point, Problem, smooth_part

_CHECK = 10
"""Steps between two looks at the gap, which costs as much as a step."""


class Progress(NamedTuple):
    """Where a solver stands.

    Attributes:
      point: the weights.
      gap: what `is_done` measured last.
      steps: steps taken.
    """

    point: Point
    gap: jax.Array
    steps: jax.Array


Gap = Callable[[Point], tuple[jax.Array, jax.Array]]
"""From a point to the gap, and the gap that is small enough."""


class _Accelerated(NamedTuple):
    """The state of the accelerated proximal gradient method."""

    point: Point
    ahead: Point
    momentum: jax.Array
    curvature: jax.Array


def proximal_gradient(
    problem: Problem, loss: PointLoss, start: Point, gap_of: Gap, max_steps: Any
) -> Progress:
    """Minimizes a composite objective by FISTA, with a search for the step and with restarts.

    Beck and Teboulle, "A Fast Iterative Shrinkage-Thresholding Algorithm", 2009; restarts by the
    gradient scheme of O'Donoghue and Candes, "Adaptive Restart for Accelerated Gradient Schemes",
    2015.

    Args:
      problem: with any norm.
      loss: a smooth loss.
      start: where to begin.
      gap_of: measures a point, and says what is small enough.
      max_steps: steps, at most.
    """
    norm, strength = NORMS[problem.omega.norm], problem.strength

    def moved(ahead: Point, gradient: Point, curvature: jax.Array) -> Point:
        weights, intercept = jax.tree.map(lambda x, g: x - g / curvature, ahead, gradient)
        return Point(norm.proximal(weights, strength / curvature), intercept)

    def step(state: _Accelerated) -> _Accelerated:
        value, gradient = smooth_part(problem, loss, state.ahead)
        # The curvature may fall by a tenth a step, so that one steep place does not slow the rest.
        curvature = state.curvature * 0.9

        def too_large(tried: tuple[jax.Array, Point]) -> jax.Array:
            curvature, point = tried
            change = jax.tree.map(jnp.subtract, point, state.ahead)
            square = optax.tree.norm(change, squared=True)
            bound = value + optax.tree.vdot(gradient, change) + curvature / 2 * square
            slack = 4 * jnp.finfo(value.dtype).eps * jnp.abs(value)
            return smooth_part(problem, loss, point)[0] > bound + slack

        def smaller(tried: tuple[jax.Array, Point]) -> tuple[jax.Array, Point]:
            curvature = 2 * tried[0]
            return curvature, moved(state.ahead, gradient, curvature)

        curvature, point = jax.lax.while_loop(
            too_large, smaller, (curvature, moved(state.ahead, gradient, curvature))
        )
        change = jax.tree.map(jnp.subtract, point, state.point)
        back = jax.tree.map(jnp.subtract, state.ahead, point)
        restart = jnp.asarray(optax.tree.vdot(back, change)) > 0
        momentum = jnp.where(restart, 1, (1 + jnp.sqrt(1 + 4 * state.momentum**2)) / 2)
        factor = jnp.where(restart, 0, (state.momentum - 1) / momentum)
        ahead = jax.tree.map(lambda x, c: x + factor * c, point, change)
        return _Accelerated(point, ahead, momentum, curvature)

    dtype = start.weights.dtype
    state = _Accelerated(start, start, jnp.ones((), dtype), jnp.ones((), dtype))
    return _until_done(step, state, lambda state: state.point, gap_of, max_steps)


def _until_done(
    step: Callable[[Any], Any],
    state: Any,
    point_of: Callable[[Any], Point],
    gap_of: Gap,
    max_steps: Any,
) -> Progress:
    def is_open(carry: tuple[Any, jax.Array, jax.Array, jax.Array]) -> jax.Array:
        _, gap, enough, steps = carry
        return (steps < max_steps) & ~(gap <= enough)

    def body(carry: tuple[Any, jax.Array, jax.Array, jax.Array]) -> Any:
        state, *_, steps = carry
        count = jnp.minimum(_CHECK, max_steps - steps)
        state = jax.lax.fori_loop(0, count, lambda _, state: step(state), state)
        return state, *gap_of(point_of(state)), steps + count

    first = (state, *gap_of(point_of(state)), jnp.zeros((), jnp.int32))
    state, gap, _, steps = jax.lax.while_loop(is_open, body, first)
    return Progress(point_of(state), gap, steps)

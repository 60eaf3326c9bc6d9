"""A convex multi-task problem of linear models: its objective, gradients and duality gap."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.linear.features import Features
from mtljax.linear.norms import NORMS
from mtljax.linear.omega import Omega
from mtljax.linear.passes import Passes
from mtljax.linear.point_losses import PointLoss


class Problem(NamedTuple):
    r"""What is minimized.

    :math:`\sum_i \alpha_i\, l(y_i, \langle w_{t_i}, x_i \rangle + b_{t_i}) + \Omega(W)`.

    Attributes:
      features: ``[n, d]``.
      targets: ``[n]``, floating point.
      task: ``[n]``, integers.
      alpha: ``[n]``, 0 or more.
      omega: the penalty.
      passes: products with the features.
      matrix: ``[T, T]``, that of the quadratic form of `omega`.
      inverse: ``[T, T]``, its inverse; the identity where there is no quadratic form.
      strength: that of the norm of `omega`.
      counts: ``[T]``, the sum of each task's `alpha`, 1 for a task without samples.
      intercept: whether each task has one.
    """

    features: Features
    targets: jax.Array
    task: jax.Array
    alpha: jax.Array
    omega: Omega
    passes: Passes
    matrix: jax.Array
    inverse: jax.Array
    strength: jax.Array
    counts: jax.Array
    intercept: bool

    @property
    def num_tasks(self) -> int:
        """T."""
        return self.matrix.shape[0]


class Point(NamedTuple):
    """Weights ``[T, d]`` and intercepts ``[T]``."""

    weights: jax.Array
    intercept: jax.Array


def all_scores(problem: Problem, point: Point) -> jax.Array:
    """The score ``[n]`` of each sample for its own task."""
    products = problem.passes.scores(point.weights)
    return products + point.intercept[problem.task] if problem.intercept else products


def smooth_part(problem: Problem, loss: PointLoss, point: Point) -> tuple[jax.Array, Point]:
    """Losses plus the quadratic form, and their gradient; the norm is left out."""
    z = all_scores(problem, point)
    related = problem.matrix @ point.weights
    value = jnp.sum(problem.alpha * loss.value(z, problem.targets))
    value = value + jnp.sum(related * point.weights) / 2
    slopes = problem.alpha * loss.slope(z, problem.targets)
    gradient = problem.passes.summed(slopes) + related
    intercept = jnp.zeros_like(point.intercept)
    if problem.intercept:
        intercept = intercept.at[problem.task].add(slopes)
    return value, Point(gradient, intercept)


def duality_gap(
    problem: Problem, loss: PointLoss, point: Point, slopes: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The objective, and how far above the minimum it can be at most, by Fenchel's duality.

    The slopes of the losses are multipliers of the dual problem once they are made feasible. The
    conjugate of a quadratic form plus a norm is an infimal convolution, of which any division of
    its argument is a bound; the division by the point itself is exact at the minimum.

    Args:
      problem: the problem.
      loss: the loss.
      point: where.
      slopes: ``[n]``, of the losses there.

    Returns:
      The objective and the gap, scalars; the gap is 0 or more but for rounding.
    """
    norm, strength, matrix = NORMS[problem.omega.norm], problem.strength, problem.matrix
    related = matrix @ point.weights
    primal = jnp.sum(problem.alpha * loss.value(all_scores(problem, point), problem.targets))
    primal = primal + jnp.sum(related * point.weights) / 2 + norm.value(point.weights, strength)

    if problem.intercept:
        slopes = balanced(problem, slopes)
    pulled = -problem.passes.summed(problem.alpha * slopes)
    # Without a quadratic form the conjugate of the norm has to take all of it.
    is_quadratic = jnp.trace(matrix) > 0
    factor = jnp.where(is_quadratic, 1, norm.feasible(pulled, strength))
    slopes, pulled = factor * slopes, factor * pulled
    part, conjugate = norm.dual_part(pulled - related, strength, point.weights, ~is_quadratic)
    rest = pulled - part
    quadratic = jnp.where(is_quadratic, jnp.sum((problem.inverse @ rest) * rest) / 2, 0)
    dual = -jnp.sum(problem.alpha * loss.conjugate(slopes, problem.targets))
    return primal, primal - (dual - quadratic - conjugate)


def balanced(problem: Problem, slopes: jax.Array) -> jax.Array:
    """Slopes whose weighted sum is 0 for each task, as an intercept wants: none gets larger."""
    weighted = problem.alpha * slopes

    def by_task(values: jax.Array) -> jax.Array:
        return jnp.zeros(problem.num_tasks, values.dtype).at[problem.task].add(values)

    up, down = by_task(jax.nn.relu(weighted)), by_task(jax.nn.relu(-weighted))
    least = jnp.minimum(up, down)
    up_factor, down_factor = (least / jnp.where(total > 0, total, 1) for total in (up, down))
    factor = jnp.where(slopes > 0, up_factor[problem.task], down_factor[problem.task])
    return slopes * factor


def measured(
    problem: Problem, loss: PointLoss, sloped: PointLoss, point: Point
) -> tuple[jax.Array, jax.Array]:
    """The objective with a loss, and its gap by the slopes of that loss or of a smoother one."""
    slopes = sloped.slope(all_scores(problem, point), problem.targets)
    return duality_gap(problem, loss, point, slopes)

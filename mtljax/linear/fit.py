"""Linear models of many tasks, solved to the optimum."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.typing import ArrayLike

from mtljax.linear.features import Features, SparseFeatures
from mtljax.linear.minimize import Progress, lbfgs, proximal_gradient
from mtljax.linear.omega import Omega
from mtljax.linear.point_losses import LOSSES, PointLoss, anchored_hinge
from mtljax.linear.problem import Point, Problem, all_scores, duality_gap

_OUTER_STEPS = 60
_FIRST_WIDTH, _LAST_WIDTH = 1.0, 1e-2


class Solution(NamedTuple):
    """The linear models of T tasks.

    Attributes:
      weights: ``[T, d]``.
      intercept: ``[T]``, zeros without intercepts.
      objective: the value of the objective, a scalar.
      gap: how far above the minimum it is at most, a scalar; see `duality_gap`.
      steps: of the solver, an integer.
    """

    weights: jax.Array
    intercept: jax.Array
    objective: jax.Array
    gap: jax.Array
    steps: jax.Array


def fit(
    features: Features,
    targets: ArrayLike,
    task: ArrayLike,
    *,
    num_tasks: int,
    loss: Literal["logistic", "hinge", "squared_hinge", "squared"] = "logistic",
    omega: Omega,
    alpha: ArrayLike | None = None,
    intercept: bool = True,
    start: Solution | None = None,
    tolerance: ArrayLike | None = None,
    max_steps: ArrayLike = 5000,
) -> Solution:
    r"""Minimizes a sum of losses of linear models and a penalty.

    :math:`\sum_i \alpha_i\, l(y_i, \langle w_{t_i}, x_i \rangle + b_{t_i}) + \Omega(W)`, by
    L-BFGS where Omega is a quadratic form, by an accelerated proximal gradient method where it has
    a norm. The hinge is solved as a sequence of smooth problems, by proximal points of its
    dual. The function jits, with `num_tasks`, `loss` and `intercept` static.

    Args:
      features: ``[n, d]``, an array or `SparseFeatures`; their dtype is that of the solution.
        float64 (with ``jax_enable_x64``) reaches small gaps, float32 about 1e-5 of the objective.
      targets: ``[n]``, 0 and 1; any numbers for the loss ``squared``.
      task: ``[n]``, the task of each sample, in [0, T).
      num_tasks: T.
      loss: of a sample; all but ``squared_hinge`` are those of `mtljax.losses`.
      omega: the penalty, with a ridge above 0, a positive definite relation, or a norm.
      alpha: ``[n]``, 0 or more, the weight of each sample; None for 1.
      intercept: whether each task has an intercept, which is not penalized.
      start: a solution to begin from, such as that of a nearby penalty.
      tolerance: the gap to reach, relative to the objective; None for 1e-7 in float64, 1e-5 in
        float32.
      max_steps: steps of the solver, at most; `Solution.gap` tells how far it came.

    Returns:
      A `Solution`.

    Raises:
      ValueError: shapes do not fit, a loss that there is not, or a penalty that leaves the weights
        free; unless traced, targets, tasks or weights that are out of range.

    >>> from mtljax import linear
    >>> features = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    >>> solution = fit(features, [1, 0, 1, 0], [0, 0, 1, 1], num_tasks=2, omega=linear.l2(1.0))
    >>> solution.weights.shape, bool(solution.gap < 1e-4)
    ((2, 2), True)
    """
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
    problem = checked(features, targets, task, num_tasks, omega, alpha, intercept)
    _check_values(problem, loss)
    dtype = problem.targets.dtype
    if tolerance is None:
        tolerance = 1e-7 if dtype == jnp.float64 else 1e-5
    tolerance = jnp.asarray(tolerance, dtype)
    width = problem.features.shape[1]
    if start is None:
        point = Point(jnp.zeros((num_tasks, width), dtype), jnp.zeros(num_tasks, dtype))
    else:
        point = Point(*(jnp.asarray(x, dtype) for x in (start.weights, start.intercept)))
    if loss == "hinge":
        return _fit_hinge(problem, point, tolerance, max_steps)
    return solve(problem, loss, point, lambda objective: tolerance * objective, max_steps)


class _Multipliers(NamedTuple):
    """The state of the proximal point method on the dual of the hinge."""

    progress: Progress
    objective: jax.Array
    anchor: jax.Array
    width: jax.Array
    index: jax.Array


def _fit_hinge(
    problem: Problem, start: Point, tolerance: jax.Array, max_steps: ArrayLike
) -> Solution:
    minimize = _minimizer(problem)
    hinge, dtype = LOSSES["hinge"], problem.targets.dtype
    signs = 2 * problem.targets - 1

    def step(state: _Multipliers) -> _Multipliers:
        before = state.progress
        rounded = anchored_hinge(state.anchor, state.width)

        def gap_of(point: Point) -> tuple[jax.Array, jax.Array]:
            # Only as far as the next anchor needs: to a tenth of what is wrong now.
            objective, gap = measured(problem, rounded, rounded, point)
            return gap, jnp.maximum(tolerance * objective, before.gap) / 10

        left = max_steps - before.steps
        progress = minimize(problem, rounded, before.point, gap_of, left)
        objective, gap = measured(problem, hinge, rounded, progress.point)
        share = -signs * rounded.slope(all_scores(problem, progress.point), problem.targets)
        progress = Progress(progress.point, gap, before.steps + progress.steps)
        width = jnp.maximum(state.width / 3, _LAST_WIDTH)
        return _Multipliers(progress, objective, share, width, state.index + 1)

    def is_open(state: _Multipliers) -> jax.Array:
        done = state.progress.gap <= tolerance * state.objective
        return ~done & (state.index < _OUTER_STEPS) & (state.progress.steps < max_steps)

    objective, gap = measured(problem, hinge, hinge, start)
    last = jax.lax.while_loop(
        is_open,
        step,
        _Multipliers(
            Progress(start, gap, jnp.zeros((), jnp.int32)),
            objective,
            -signs * hinge.slope(all_scores(problem, start), problem.targets),
            jnp.asarray(_FIRST_WIDTH, dtype),
            jnp.zeros((), jnp.int32),
        ),
    )
    return Solution(*last.progress.point, last.objective, last.progress.gap, last.progress.steps)


def measured(
    problem: Problem, loss: PointLoss, sloped: PointLoss, point: Point
) -> tuple[jax.Array, jax.Array]:
    """The objective with a loss, and its gap by the slopes of that loss or of a smoother one."""
    slopes = sloped.slope(all_scores(problem, point), problem.targets)
    return duality_gap(problem, loss, point, slopes)


def _check_values(problem: Problem, loss: str) -> None:
    """Refuses values that would be fitted as something else, where they are known."""
    targets, task, alpha = problem.targets, problem.task, problem.alpha
    if any(isinstance(array, Tracer) for array in (targets, task, alpha)):
        return
    count = problem.num_tasks
    if loss != "squared" and not jnp.all((targets == 0) | (targets == 1)):
        raise ValueError(f"targets: must be 0 and 1 for the loss {loss}")
    if not jnp.all(jnp.isfinite(targets)):
        raise ValueError("targets: must be finite")
    if not jnp.all((task >= 0) & (task < count)):
        raise ValueError(f"task: must be in [0, {count})")
    if not jnp.all((alpha >= 0) & jnp.isfinite(alpha)):
        raise ValueError("alpha: must be finite and 0 or more")


def _minimizer(problem: Problem) -> Callable[..., Progress]:
    return lbfgs if problem.omega.norm == "none" else proximal_gradient


def solve(
    problem: Problem,
    loss: str,
    start: Point,
    goal: Callable[[jax.Array], jax.Array],
    max_steps: ArrayLike,
) -> Solution:
    """Minimizes a checked problem with a smooth loss; `goal` maps an objective to its gap."""
    minimize = _minimizer(problem)
    point_loss = LOSSES[loss]

    def gap_of(point: Point) -> tuple[jax.Array, jax.Array]:
        objective, gap = measured(problem, point_loss, point_loss, point)
        return gap, goal(objective)

    progress = minimize(problem, point_loss, start, gap_of, max_steps)
    objective, gap = measured(problem, point_loss, point_loss, progress.point)
    return Solution(*progress.point, objective, gap, progress.steps)


def checked(
    features: Features,
    targets: ArrayLike,
    task: ArrayLike,
    num_tasks: int,
    omega: Omega,
    alpha: ArrayLike | None,
    intercept: bool,
) -> Problem:
    """The problem of the arguments of `fit`; ValueError naming one that does not fit."""
    if isinstance(features, SparseFeatures):
        values = jnp.asarray(features.values)
        features = SparseFeatures(
            jnp.asarray(features.rows, jnp.int32),
            jnp.asarray(features.columns, jnp.int32),
            values,
            features.shape,
        )
        shape, dtype = features.shape, values.dtype
    else:
        features = jnp.asarray(features)
        shape, dtype = features.shape, features.dtype
    if len(shape) != 2 or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"features must be [n, d] of floating point, got {dtype}{list(shape)}")
    targets, task = jnp.asarray(targets, dtype), jnp.asarray(task, jnp.int32)
    alpha = jnp.ones(shape[0], dtype) if alpha is None else jnp.asarray(alpha, dtype)
    for name, array in (("targets", targets), ("task", task), ("alpha", alpha)):
        if array.shape != shape[:1]:
            raise ValueError(f"{name} must be [{shape[0]}], got shape {array.shape}")
    if omega.relation is not None and jnp.shape(omega.relation) != (num_tasks, num_tasks):
        raise ValueError(
            f"omega: a relation of {num_tasks} tasks must be [{num_tasks}, {num_tasks}], got shape "
            f"{jnp.shape(omega.relation)}"
        )
    bare = omega.norm == "none" and omega.relation is None
    if bare and not isinstance(omega.ridge, Tracer) and not omega.ridge > 0:
        raise ValueError("omega: a ridge above 0, a relation or a norm is needed, got none of them")
    matrix, strength = omega.matrix(num_tasks, dtype), jnp.asarray(omega.strength, dtype)
    return Problem(features, targets, task, alpha, omega, matrix, strength, intercept)

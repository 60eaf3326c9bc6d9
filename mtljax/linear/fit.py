"""Linear models of many tasks, solved to the optimum."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.typing import ArrayLike

from mtljax.linear.features import Features, SparseFeatures
from mtljax.linear.omega import Omega
from mtljax.linear.passes import prepared
from mtljax.linear.point_losses import LOSSES
from mtljax.linear.problem import Point, Problem
from mtljax.linear.solve import solved


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
        zeros = Point(jnp.zeros((num_tasks, width), dtype), jnp.zeros(num_tasks, dtype))
        # XLA's product of a wide constant on a CPU is not a number: let it not know that it is one.
        point = jax.lax.optimization_barrier(zeros)
    else:
        point = Point(*(jnp.asarray(x, dtype) for x in (start.weights, start.intercept)))
    point, objective, gap, steps = solved(
        problem, loss, point, start is not None, tolerance, jnp.asarray(max_steps, jnp.int32)
    )
    return Solution(*point, objective, gap, steps)


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
    matrix = omega.matrix(num_tasks, dtype)
    identity = jnp.eye(num_tasks, dtype=dtype)
    counts = jnp.zeros(num_tasks, dtype).at[task].add(alpha)
    return Problem(
        features,
        targets,
        task,
        alpha,
        omega,
        prepared(features, task, num_tasks),
        matrix,
        jnp.linalg.inv(jnp.where(jnp.trace(matrix) > 0, matrix, identity)),
        jnp.asarray(omega.strength, dtype),
        jnp.where(counts > 0, counts, 1),
        intercept,
    )

"""Linear models whose relation is learned with them: MTRL."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.linear.features import Features
from mtljax.linear.fit import Solution, fit
from mtljax.linear.omega import Omega


class Related(NamedTuple):
    """Linear models, and how their tasks are related.

    Attributes:
      solution: the models; objective and gap are of the problem in both, models and relation.
      covariance: ``[T, T]``, positive semi-definite, of trace 1; zeros if all weights are.
    """

    solution: Solution
    covariance: jax.Array

    @property
    def correlation(self) -> jax.Array:
        """``[T, T]``: 1 for tasks with like weights, -1 for opposed ones, 0 for unrelated ones.

        Zeros for a task without weights.
        """
        return correlations(self.covariance)

    @property
    def rank(self) -> jax.Array:
        """Of the covariance, an integer; below T it is singular, as for tasks that are all alike.

        No inverse of it is taken: a singular one is a result like any other.
        """
        return jnp.linalg.matrix_rank(self.covariance, hermitian=True)


def fit_relation(
    features: Features,
    targets: ArrayLike,
    task: ArrayLike,
    *,
    num_tasks: int,
    ridge: ArrayLike,
    strength: ArrayLike,
    **options: Any,
) -> Related:
    r"""Learns the models of T tasks together with the covariance of their weights.

    Zhang and Yeung, "A Convex Formulation for Learning Task Relationships in Multi-Task Learning",
    UAI 2010: the losses plus :math:`\frac{r}{2} \lVert W \rVert_F^2 + \frac{s}{2}
    \operatorname{tr} W^\top \Sigma^{-1} W`, minimized over W ``[T, d]`` and over :math:`\Sigma` of
    trace 1. For given weights the best covariance is :math:`(W W^\top)^{1/2}` divided by its trace,
    where the last term is half the square of the trace norm of W: that convex problem is solved,
    by proximal gradients, in place of the paper's alternation, which slows down where the
    covariance is nearly singular, as it is for tasks that are all alike.

    Args:
      features: as of `fit`, as are `targets`, `task` and `num_tasks`.
      targets: ``[n]``.
      task: ``[n]``.
      num_tasks: T.
      ridge: r, 0 or more.
      strength: s, above 0.
      **options: of `fit`: `loss`, `alpha`, `intercept`, `start`, `tolerance`, `max_steps`.

    Returns:
      `Related`.

    Raises:
      ValueError: as `fit`.
    """
    omega = Omega(ridge=ridge, strength=strength, norm="squared_trace")
    solution = fit(features, targets, task, num_tasks=num_tasks, omega=omega, **options)
    return Related(solution, best_covariance(solution.weights))


def correlations(covariance: jax.Array) -> jax.Array:
    """The correlations ``[T, T]`` of a covariance: zeros for a task without a variance."""
    variances = jnp.diagonal(covariance)
    scale = jnp.where(variances > 0, jax.lax.rsqrt(jnp.where(variances > 0, variances, 1)), 0)
    return covariance * jnp.outer(scale, scale)


def best_covariance(weights: jax.Array) -> jax.Array:
    """The covariance ``[T, T]`` that suits weights ``[T, d]``: ``(W W')^(1/2)``, of trace 1."""
    left, values, _ = jnp.linalg.svd(weights, full_matrices=False)
    total = jnp.sum(values)
    return (left * (values / jnp.where(total > 0, total, 1))) @ left.T

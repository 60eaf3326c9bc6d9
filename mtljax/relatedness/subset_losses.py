"""The losses of tasks after training on a subset of them, without training."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.relatedness.linearized import Linearized

_NEWTON_STEPS = 12
_HALVINGS = 8


class SubsetLosses(NamedTuple):
    """What training on subsets of T tasks is predicted to give.

    Attributes:
      losses: ``[M, T]``, the mean loss of every task on held-out examples, for each of M subsets;
        NaN for a task without held-out examples. For tasks outside of a subset, that of a model
        which has not been trained on them any further.
      ridge: ``[M]``, the penalty that was best for the tasks of the subset.
    """

    losses: jax.Array
    ridge: jax.Array


def subset_losses(
    train: Linearized,
    held_out: Linearized,
    subsets: ArrayLike,
    *,
    ridges: ArrayLike | Sequence[float] = (1e-1, 1e-2, 1e-3, 1e-4),
    loss: Literal["logistic", "squared"] = "logistic",
) -> SubsetLosses:
    r"""Predicts the losses of models trained on subsets of tasks, from one model trained on all.

    Grad-TAG (Li et al. 2024, "Scalable Multitask Learning Using Gradient-based Estimation of Task
    Affinity", section 3): near the parameters :math:`w_0` of the model of all tasks, the margin of
    an example is :math:`m_k + \langle g_k, u \rangle` with :math:`u` a projection of
    :math:`w - w_0`. Training on a subset S is then a convex problem in a few hundred numbers,

    .. math:: \min_u \frac{1}{|S|} \sum_{i \in S} \frac{1}{n_i} \sum_{k \in i}
              l(m_k + \langle g_k, u \rangle) + \frac{\lambda}{2} \bar g^2 |u|^2 ,

    solved by Newton's method; :math:`\bar g^2` is the mean squared length of the gradients, which
    makes :math:`\lambda` free of their scale. It stands for how far training goes, and is chosen
    by the mean held-out loss of the tasks of S, as a run's best step is. What it leaves out is all
    that is not near :math:`w_0`: check some subsets by training on them.

    Args:
      train: examples that are trained on, from `linearize`.
      held_out: examples that losses are of, with the same projection.
      subsets: boolean ``[M, T]``, a row a subset of one task or more.
      ridges: penalties to choose from.
      loss: ``logistic`` of margins, ``squared`` of residuals (half the square).

    Returns:
      `SubsetLosses`.

    Raises:
      ValueError: shapes do not fit, or a loss that there is not.
    """
    if loss not in _LOSSES:
        raise ValueError(f"loss must be one of {', '.join(_LOSSES)}, got {loss!r}")
    subsets = jnp.asarray(subsets, bool)
    if subsets.ndim != 2:
        raise ValueError(f"subsets must be [M, T], got shape {subsets.shape}")
    if train.gradients.shape[1] != held_out.gradients.shape[1]:
        raise ValueError("gradients of both sets must be projected to the same size")
    of_margin, num_tasks = _LOSSES[loss], subsets.shape[1]
    scale = jnp.mean(jnp.sum(train.gradients**2, axis=1))
    sizes = jnp.zeros(num_tasks).at[train.task].add(1)
    held_sizes = jnp.zeros(num_tasks).at[held_out.task].add(1)

    def of_subset(subset: jax.Array) -> SubsetLosses:
        weights = jnp.where(subset, 1 / jnp.maximum(sizes, 1), 0)[train.task]
        weights = weights / jnp.maximum(subset.sum(), 1)

        def of_ridge(start: jax.Array, ridge: jax.Array) -> tuple[jax.Array, jax.Array]:
            u = _newton(of_margin, train, weights, ridge * scale, start)
            values = of_margin(held_out.margins + held_out.gradients @ u)
            return u, jnp.zeros(num_tasks).at[held_out.task].add(values) / held_sizes

        penalties = jnp.sort(jnp.asarray(ridges, scale.dtype))[::-1]
        start = jnp.zeros(train.gradients.shape[1], scale.dtype)
        _, losses = jax.lax.scan(of_ridge, start, penalties)
        seen = subset & (held_sizes > 0)
        scores = jnp.sum(jnp.where(seen, losses, 0), axis=1)
        best = jnp.argmin(scores)
        return SubsetLosses(losses[best], penalties[best])

    return jax.lax.map(of_subset, subsets)


def _newton(
    of_margin: Callable[[jax.Array], jax.Array],
    examples: Linearized,
    weights: jax.Array,
    ridge: jax.Array,
    start: jax.Array,
) -> jax.Array:
    """Minimizes a weighted sum of losses of margins that are linear in u, and a ridge."""
    margins, gradients, _ = examples
    slope = jax.vmap(jax.grad(of_margin))
    curvature = jax.vmap(jax.grad(jax.grad(of_margin)))

    def objective(u: jax.Array) -> jax.Array:
        return weights @ of_margin(margins + gradients @ u) + ridge * (u @ u) / 2

    def step(u: jax.Array, _: None) -> tuple[jax.Array, None]:
        at = margins + gradients @ u
        gradient = gradients.T @ (weights * slope(at)) + ridge * u
        hessian = (gradients.T * (weights * curvature(at))) @ gradients
        hessian = hessian + ridge * jnp.eye(u.size, dtype=u.dtype)
        direction = jax.scipy.linalg.solve(hessian, gradient, assume_a="pos")
        # A full step may overshoot far from the optimum: the best of steps halved.
        candidates = u - direction * 0.5 ** jnp.arange(_HALVINGS)[:, None]
        values = jax.lax.map(objective, candidates)
        better = jnp.min(values) < objective(u)
        return jnp.where(better, candidates[jnp.argmin(values)], u), None

    return jax.lax.scan(step, start, length=_NEWTON_STEPS)[0]


def _logistic(margin: jax.Array) -> jax.Array:
    return jax.nn.softplus(-margin)


def _squared(residual: jax.Array) -> jax.Array:
    return residual**2 / 2


_LOSSES: dict[str, Callable[[jax.Array], jax.Array]] = {"logistic": _logistic, "squared": _squared}

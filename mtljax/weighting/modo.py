"""MoDo: stochastic gradient descent on the min-norm problem, with two batches."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.solvers.simplex import project_simplex
from mtljax.weighting.common.arguments import check_positive, check_range
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import equal_weights


class MoDoState(NamedTuple):
    """The weights ``[T]``."""

    weights: jax.Array


def modo(
    gamma: float | jax.Array = 0.1, rho: float | jax.Array = 0.1, normalize: bool = False
) -> Weighting:
    r"""Weights that descend along an unbiased gradient of the squared norm of the direction.

    Chen, Fernando, Ying and Chen, "Three-Way Trade-Off in Multi-Objective Learning: Optimization,
    Generalization and Conflict-Avoidance", NeurIPS 2023, arXiv 2305.20057. With the gradients of
    two independent batches, :math:`A = J_1 J_2^\top`, the weights move from 1/m to

    .. math:: \lambda \leftarrow \Pi(\lambda - \gamma (A \lambda + \rho \lambda)),

    projected onto the simplex. They are meant for the gradients of a third batch, or for the mean
    of the two. Weights sum to 1.

    Signals: ``cross_gramian``, A: row i holds the products of task i's gradient of the first batch
    with those of the second. State: `MoDoState`.

    | input | weights |
    |---|---|
    | one task | 1 |
    | products of 0 | unchanged, but for the pull of rho towards equal ones |
    | identical gradients | unchanged, likewise |
    | products far above 1/gamma | on the task with the smallest row of A times the weights |
    | a product that is not finite | equal weights of the tasks whose own product is finite |

    When to use: in place of `mgda` for small batches: the squared noise of a batch does not enter
    the products.

    Args:
      gamma: step size of the weights, positive. It is in units of a squared gradient.
      rho: pulls the weights to equal ones, 0 or more.
      normalize: divides A by the squared mean of the roots of its diagonal (negative entries count
        as 0), as `sdmgrad` does, so that gamma and rho have no unit.

    Returns:
      A `Weighting` with a `MoDoState`.

    Raises:
      ValueError: gamma not positive, or rho negative.

    >>> method = modo(rho=0.0)
    >>> products = jnp.array([[3.0, 0.0], [0.0, 1.0]])
    >>> method.update(jnp.ones(2), method.init(2), cross_gramian=products)[0].round(4)
    Array([0.45, 0.55], dtype=float32)
    """
    check_positive("gamma", gamma)
    check_range("rho", rho, 0, float("inf"))

    def init(num_tasks):
        return MoDoState(jnp.full(num_tasks, 1 / num_tasks, float))

    def update(losses, state, *, present, cross_gramian):
        del losses
        products = bounded(cross_gramian)
        if normalize:
            products = unit_products(products, present)
        weights = shares(state.weights.astype(products.dtype), present)
        gradient = products @ weights + rho * weights
        weights = project_simplex(weights - gamma * gradient, present)
        return weights, MoDoState(weights)

    return guard(
        init,
        update,
        fallback=lambda state, counted: equal_weights(counted, "mean"),
        requires=("losses", "cross_gramian"),
        per_task=("weights",),
    )


def shares(weights: jax.Array, present: jax.Array) -> jax.Array:
    """Returns weights ``[T]`` of 0 or more scaled to sum 1 over those present; 1/m if all are 0.

    A task that comes back brings its old weight along; the others have summed to 1 since.
    """
    kept = jnp.where(present, weights, 0)
    total = jnp.sum(kept)
    positive = total > jnp.finfo(kept.dtype).eps
    return jnp.where(positive, kept / jnp.where(positive, total, 1), equal_weights(present, "mean"))


def bounded(products: jax.Array) -> jax.Array:
    """Clips products to what can be multiplied and summed: 1e24 in float32."""
    limit = jnp.finfo(products.dtype).max ** 0.625
    return jnp.clip(products, -limit, limit)


def unit_products(products: jax.Array, present: jax.Array) -> jax.Array:
    """Divides ``[T, T]`` by the square of the mean length of the gradients; 0 if that is 0."""
    lengths = jnp.sqrt(jnp.maximum(jnp.diagonal(products), 0))
    mean = jnp.sum(lengths) / jnp.maximum(jnp.sum(present), 1)
    # Twice by the length: its square may underflow.
    return jnp.where(mean > 0, bounded(products / jnp.where(mean > 0, mean, 1) / mean), 0)

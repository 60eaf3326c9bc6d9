"""Min-norm weights near a preferred direction, from two batches."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.solvers.simplex import project_simplex
from mtljax.weighting.common.arguments import check_count, check_positive, check_range
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import (
    check_length,
    check_preference,
    equal_weights,
    preference,
)
from mtljax.weighting.modo import bounded, shares, unit_products


class SDMGradState(NamedTuple):
    """The weights ``[T]`` of the inner problem."""

    weights: jax.Array


def sdmgrad(
    lam: float | jax.Array = 0.3,
    lr: float | jax.Array = 10.0,
    momentum: float | jax.Array = 0.5,
    iters: int = 20,
    pref: Sequence[float] | np.ndarray | None = None,
) -> Weighting:
    r"""Direction-oriented multi-objective learning, with stochastic gradients of two batches.

    Xiao, Ban and Ji, "Direction-oriented Multi-objective Learning: Simple and Provable Stochastic
    Algorithms", NeurIPS 2023, arXiv 2305.18409. With :math:`A = J_1 J_2^\top` of two independent
    batches, divided by the squared mean of the roots of its diagonal, `iters` steps of projected
    gradient descent with momentum go along :math:`A (w + \lambda w_0)`, from the w of the step
    before; the weights are :math:`(w + \lambda w_0)/(1 + \lambda)`. They are meant for the
    gradients of a third batch, or for the mean of the two. Weights sum to 1 where the preference
    does.

    Signals: ``cross_gramian``, A: row i holds the products of task i's gradient of the first batch
    with those of the second. State: `SDMGradState`.

    | input | weights |
    |---|---|
    | one task | 1 |
    | products of 0, or none positive on the diagonal | unchanged, from 1/m |
    | identical gradients | unchanged |
    | a product that is not finite | equal weights of the tasks whose own product is finite |

    When to use: in place of `modo`, where the direction should stay near the mean: lam leads from
    `mgda` (0) towards it.

    Args:
      lam: weight of the preferred direction, 0 or more.
      lr: step size of the inner problem, positive. The paper's 10 does not settle where products
        differ in size, and then magnifies the rounding of the products: lower it there.
      momentum: of the inner problem, in [0, 1); it starts at rest in each step.
      iters: inner steps.
      pref: the preferred weights w_0 ``[T]``; None is 1/m each.

    Returns:
      A `Weighting` with an `SDMGradState`.

    Raises:
      TypeError: `iters` is no integer, or `pref` not numbers.
      ValueError: an option out of range.

    >>> method = sdmgrad(lam=0.0)
    >>> products = jnp.array([[3.0, 0.0], [0.0, 1.0]])
    >>> method.update(jnp.ones(2), method.init(2), cross_gramian=jnp.zeros((2, 2)))[0]
    Array([0.5, 0.5], dtype=float32)
    """
    check_range("lam", lam, 0, float("inf"))
    check_positive("lr", lr)
    check_range("momentum", momentum, 0, 1, ends="[)")
    steps = check_count("iters", iters)
    pref = check_preference(pref)

    def init(num_tasks):
        check_length(pref, num_tasks)
        return SDMGradState(jnp.full(num_tasks, 1 / num_tasks, float))

    def update(losses, state, *, present, cross_gramian):
        del losses
        products = unit_products(bounded(cross_gramian), present)
        preferred = preference(pref, present, "mean", products.dtype)
        pull = lam * (products @ preferred)

        def step(_, carry):
            weights, velocity = carry
            velocity = momentum * velocity + products @ weights + pull
            return project_simplex(weights - lr * velocity, present), velocity

        start = shares(state.weights.astype(products.dtype), present)
        weights, _ = jax.lax.fori_loop(0, steps, step, (start, jnp.zeros_like(start)))
        return (weights + lam * preferred) / (1 + lam), SDMGradState(weights)

    return guard(
        init,
        update,
        fallback=lambda state, counted: equal_weights(counted, "mean"),
        requires=("losses", "cross_gramian"),
        per_task=("weights",),
    )

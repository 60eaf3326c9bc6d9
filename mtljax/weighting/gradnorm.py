"""GradNorm: learned weights that balance gradient norms."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.weighting.common.arguments import check_count, check_positive, check_range
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.unit_vectors import active_norms


class GradNormState(NamedTuple):
    """What is carried from step to step, each field ``[T]``.

    Attributes:
      weights: those of the next step; they sum to T.
      first_losses: L(0), or the mean of the losses seen so far in the warm-up.
      count: int32, losses in that mean, up to `warmup_steps`.
    """

    weights: jax.Array
    first_losses: jax.Array
    count: jax.Array


def gradnorm(
    alpha: float | jax.Array = 1.5,
    lr: float | jax.Array = 0.025,
    floor: float | jax.Array = 1e-3,
    warmup_steps: int = 1,
) -> Weighting:
    r"""Learns weights such that slow tasks get larger gradients.

    Chen, Badrinarayanan, Lee and Rabinovich, "GradNorm: Gradient Normalization for Adaptive Loss
    Balancing in Deep Multitask Networks", ICML 2018, arXiv 1711.02257. With the norms
    :math:`n_i = |g_i|` and the relative inverse training rates
    :math:`r_i = (L_i / L_i(0)) / \operatorname{mean}_k (L_k / L_k(0))`, the weights descend along
    the gradient of :math:`\sum_i | w_i n_i - \bar n r_i^\alpha |`,
    :math:`\bar n = \operatorname{mean}_i w_i n_i`, whose target counts as constant:

    .. math:: w_i \leftarrow w_i - \eta \operatorname{sign}(w_i n_i - \bar n r_i^\alpha)
       \frac{n_i}{\operatorname{mean}_k n_k},

    and are then scaled to sum to m. The division by the mean norm makes the learning rate
    independent of the scale of the losses; the paper has none. The weights of a step are made
    before they move, and are on the sum scale.

    Signals: ``losses`` and ``gramian_diagonal``: the norms only, of all shared parameters or of
    those that the engine is configured to use. State: `GradNormState`.

    | input | weights |
    |---|---|
    | first step, or one task | 1 |
    | a zero gradient | moves by the scaling to sum m only |
    | all gradients zero | unchanged |
    | a first loss of 0 or less | counts as a task that has made no progress: ratio 1 |
    | a loss below 0 | counts as 0 |
    | an absent task | 0; the others are scaled to sum to their number |

    When to use: tasks differ in how fast they learn, and a backward pass for each task is
    affordable.

    Args:
      alpha: strength of the pull towards equal training rates, 0 or more; 0 wants equal norms.
      lr: learning rate of the weights, positive.
      floor: lowest weight before scaling, positive: w must not become negative.
      warmup_steps: the first losses are the mean of as many steps; meanwhile that of those seen.

    Returns:
      A `Weighting` with a `GradNormState`.

    Raises:
      TypeError: warmup_steps is no integer.
      ValueError: an argument out of its range.

    >>> method = gradnorm()
    >>> weights, state = method.update(
    ...     jnp.ones(2), method.init(2), gramian_diagonal=jnp.array([1.0, 9.0])
    ... )
    >>> state.weights.round(4)
    Array([1.0253, 0.9747], dtype=float32)
    """
    check_range("alpha", alpha, 0, math.inf, ends="[)")
    check_positive("lr", lr)
    check_positive("floor", floor)
    warmup = check_count("warmup_steps", warmup_steps)

    def init(num_tasks):
        zeros = jnp.zeros(num_tasks)
        return GradNormState(jnp.ones(num_tasks), zeros, jnp.zeros(num_tasks, jnp.int32))

    def shares(weights: jax.Array, present: jax.Array) -> jax.Array:
        """Weights ``[T]`` scaled to sum to the number of tasks present."""
        counted = jnp.where(present, weights, 0)
        total = jnp.sum(counted)
        return counted * (jnp.sum(present) / jnp.where(total > 0, total, 1))

    def rates(losses: jax.Array, first: jax.Array, present: jax.Array) -> jax.Array:
        """Loss ratios divided by their mean, formed in logarithms, where no ratio overflows."""
        positive = first > 0
        logs = jnp.log(jnp.maximum(losses, 0)) - jnp.log(jnp.where(positive, first, 1))
        logs = jnp.where(present, jnp.where(positive, logs, 0), -jnp.inf)
        largest = jnp.max(logs)
        any_positive = jnp.isfinite(largest)
        ratios = jnp.where(any_positive, jnp.exp(logs - jnp.where(any_positive, largest, 0)), 1)
        return shares(ratios, present)

    def update(losses, state, *, present, norms):
        count = jnp.minimum(state.count + 1, warmup)
        collecting = state.count < warmup
        mean = state.first_losses + (losses - state.first_losses) / count
        first = jnp.where(collecting, mean, state.first_losses)

        number = jnp.maximum(jnp.sum(present), 1)
        weights = shares(state.weights, present)
        _, relative = active_norms(norms)
        sizes = weights * relative
        target = jnp.sum(sizes) / number * rates(losses, first, present) ** alpha
        average = jnp.sum(relative) / number
        gradient = jnp.sign(sizes - target) * relative / jnp.where(average > 0, average, 1)
        moved = shares(jnp.maximum(weights - lr * gradient, floor), present)
        # The tasks present redistribute what they had, so that the weights of all sum to T.
        sum_before = jnp.sum(jnp.where(present, state.weights, 0))
        kept = jnp.where(average > 0, moved * (sum_before / number), state.weights)
        return weights, GradNormState(kept, first, count)

    return guard(
        init,
        update,
        fallback=lambda state, counted: shares(state.weights, counted),
        requires=("losses", "gramian_diagonal"),
        per_task=("weights", "first_losses", "count"),
    )

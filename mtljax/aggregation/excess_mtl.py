"""ExcessMTL: multiplicative weights on estimated excess risks."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from optax.experimental import aggregating

from mtljax.aggregation.guard import guard
from mtljax.aggregation.task_axis import counted_gradients, zeros_per_task
from mtljax.gradients import combine
from mtljax.weighting.common.arguments import check_choice, check_count, check_positive
from mtljax.weighting.common.preference import SCALES


class ExcessMTLState(NamedTuple):
    """What is carried from step to step.

    Attributes:
      root: ``[T, *param]``, float32 or wider, the roots of the sums of squared gradients.
      log_weights: ``[T]``.
      first: ``[T]``, mean excess risks of the first steps.
      count: int32 ``[T]``, steps in which each task took part.
    """

    root: Any
    log_weights: jax.Array
    first: jax.Array
    count: jax.Array


def excess_mtl(
    num_tasks: int,
    *,
    eta: float | jax.Array = 1e-2,
    warmup_steps: int = 1,
    scale: str = "mean",
) -> aggregating.Aggregator:
    r"""Multiplicative weights on estimated excess risks.

    He, Zhou, Zhang, Yi, Yang, Wang and Zhao, "Robust Multi-Task Learning with Excess Risks", ICML
    2024, arXiv 2402.02009. With the sum :math:`S_i` of the squared gradients so far, this one
    included, the excess risk is estimated as the second-order term of a diagonal Hessian,
    :math:`E_i = \sum_p g_{ip}^2 / \sqrt{S_{ip}}`, and :math:`w_i \propto w_i e^{\eta E_i / E_i^0}`,
    where :math:`E_i^0` is the mean over the first `warmup_steps`, in which the ratio counts as 1.
    A loss multiplied by a constant changes no weight.

    | input | weights |
    |---|---|
    | first step (`warmup_steps`) | 1/m |
    | one task | 1 |
    | a coordinate that has been 0 so far | adds nothing to E |
    | a task whose first gradients were 0 | ratio 0: its weight falls behind |
    | an absent task | 0, and its weight is kept; the others redistribute the sum of theirs |
    | gradient or loss not finite | as absent |
    | no task left | 0, and the state stays |

    Signals: the gradients.

    When to use: noisy labels. A loss that is high but cannot fall gets little weight.

    Args:
      num_tasks: T.
      eta: step size of the weights, positive.
      warmup_steps: number of steps of each task whose mean is :math:`E_i^0`.
      scale: ``'mean'``, weights sum to 1, or ``'sum'``, to the number of tasks counted.

    Returns:
      An Optax aggregator with an `ExcessMTLState`. Its `update` takes leaves ``[T, *param]``, and
      ``mask [T]`` and ``losses [T]`` as optional keywords.

    Raises:
      TypeError: `warmup_steps` is no integer.
      ValueError: an option out of range, or no tasks.

    >>> method = excess_mtl(2, scale="sum")
    >>> grads = jnp.array([[1.0, 0.0], [0.0, 3.0]])
    >>> method.update(grads, method.init(jnp.zeros(2)))[0]
    Array([1., 3.], dtype=float32)
    """
    tasks = check_count("num_tasks", num_tasks)
    warmup = check_count("warmup_steps", warmup_steps)
    check_positive("eta", eta)
    check_choice("scale", scale, SCALES)

    def init(params: Any) -> ExcessMTLState:
        zeros = jnp.zeros(tasks)
        counts = jnp.zeros(tasks, jnp.int32)
        return ExcessMTLState(zeros_per_task(params, tasks), zeros, jnp.array(zeros), counts)

    def aggregate(task_grads, state, *, counted):
        gradients = jax.tree.map(lambda leaf: counted_gradients(counted, leaf), task_grads)
        # The root of the sum, not the sum: squares of large or small gradients over- or underflow.
        root = jax.tree.map(
            lambda r, g: _hypotenuse(r, jnp.abs(g.astype(r.dtype))), state.root, gradients
        )
        dtype = state.log_weights.dtype
        excess = jnp.zeros(tasks, dtype)
        for g, r in zip(jax.tree.leaves(gradients), jax.tree.leaves(root), strict=True):
            terms = g * (g / jnp.where(r > 0, r, 1))
            excess = excess + jnp.sum(terms, axis=range(1, g.ndim)).astype(dtype)

        count = state.count + counted
        early = count <= warmup
        mean = state.first + (excess - state.first) / jnp.maximum(count, 1)
        first = jnp.where(counted & early, mean, state.first)
        divisible = first > 0
        ratio = jnp.where(divisible, excess / jnp.where(divisible, first, 1), 0)
        ratio = jnp.where(early, 1, jnp.minimum(ratio, jnp.finfo(dtype).max ** 0.5))
        grown = jnp.where(counted, state.log_weights + eta * ratio, -jnp.inf)
        before = jnp.where(counted, state.log_weights, -jnp.inf)
        # The tasks counted redistribute what they had in sum, so that absent ones keep theirs.
        moved = grown - jax.nn.logsumexp(grown) + jax.nn.logsumexp(before)
        log_weights = jnp.where(counted, moved, state.log_weights).astype(dtype)

        weights = jnp.where(counted, jax.nn.softmax(jnp.where(counted, grown, -1e30)), 0)
        if scale == "sum":
            weights = weights * jnp.sum(counted)
        return combine(weights, gradients), ExcessMTLState(root, log_weights, first, count)

    return guard(tasks, init, aggregate)


def _hypotenuse(first: jax.Array, second: jax.Array) -> jax.Array:
    """`jnp.hypot` of finite numbers >= 0, without its cases for the others."""
    larger, smaller = jnp.maximum(first, second), jnp.minimum(first, second)
    ratio = smaller / jnp.where(larger > 0, larger, 1)
    return larger * jnp.sqrt(1 + ratio * ratio)

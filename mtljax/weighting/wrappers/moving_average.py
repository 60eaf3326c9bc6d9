"""CR-MOGM: weights averaged over steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.weighting.common.arguments import check_range
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard

Schedule = Callable[[jax.Array], jax.Array | float]


class Average(NamedTuple):
    """The average of the weights.

    Attributes:
      weights: ``[T]``.
      known: bool ``[T]``, whether a task has had a weight.
      step: int32, steps so far.
    """

    weights: jax.Array
    known: jax.Array
    step: jax.Array


class MovingAverageState(NamedTuple):
    """The state of the method inside, and the average."""

    inner: Any
    average: Average


def moving_average(weighting: Weighting, alpha: float | jax.Array | Schedule = 0.9) -> Weighting:
    r"""Averages the weights of a method exponentially over steps.

    Zhou, Zhang, Jiang, Zhong, Gu and Zhu, "On the Convergence of Stochastic Multi-Objective
    Gradient Manipulation and Beyond" (CR-MOGM), NeurIPS 2022. With the weights :math:`\hat w` of
    the method,

    .. math:: w_k = \alpha w_{k-1} + (1 - \alpha) \hat w_k,

    from the first weights on. Weights made from the gradients of a batch are biased, since they
    depend on the same noise: with averaging the bias vanishes as alpha tends to 1. Weights that
    sum to 1 still do; a direction that conflicts with no task may do so once averaged.

    | input | weights |
    |---|---|
    | first step of a task | those of the method |
    | alpha 0 | those of the method |
    | an absent task | 0; its average is unchanged |
    | NaN or infinite number | what the method answers; the average is unchanged |

    When to use: the weights of a Gramian method jump from batch to batch.

    Args:
      weighting: the method.
      alpha: from 0 to 1, or a schedule ``step -> alpha`` of the steps so far, from 0 on, such as an
        Optax schedule.

    Returns:
      A `Weighting` that reads the same signals, with a `MovingAverageState`.

    Raises:
      ValueError: a constant alpha outside [0, 1].

    >>> from mtljax.weighting.geometric import geometric
    >>> method = moving_average(geometric(), alpha=0.5)
    >>> weights, state = method.update(jnp.array([1.0, 1.0]), method.init(2))
    >>> method.update(jnp.array([1.0, 4.0]), state)[0]
    Array([0.75 , 0.375], dtype=float32)
    """
    if not callable(alpha):
        check_range("alpha", alpha, 0, 1)

    def init(num_tasks):
        zeros = jnp.zeros(num_tasks)
        average = Average(zeros, jnp.zeros(num_tasks, bool), jnp.zeros((), jnp.int32))
        return MovingAverageState(weighting.init(num_tasks), average)

    def update(losses, state, *, mask=None, **signals):
        weights, inner = weighting.update(losses, state.inner, mask=mask, **signals)

        def mix(losses, average, *, present, **others):
            del losses, present, others
            share = alpha(average.step) if callable(alpha) else alpha
            mixed = jnp.where(
                average.known, share * average.weights + (1 - share) * weights, weights
            )
            known = jnp.ones_like(average.known)
            return mixed, Average(mixed, known, average.step + 1)

        method = guard(
            lambda num_tasks: None,
            mix,
            fallback=lambda average, counted: weights,
            requires=weighting.requires,
            per_task=("weights", "known"),
        )
        weights, average = method.update(losses, state.average, mask=mask, **signals)
        return weights, MovingAverageState(inner, average)

    return Weighting(init, update, weighting.requires, weighting.ahead)


cr_mogm = moving_average
"""The same, by its name in the paper."""

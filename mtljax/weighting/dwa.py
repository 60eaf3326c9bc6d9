"""DWA: weights from how fast the losses fall."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.weighting.common.arguments import check_count, check_positive
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.log_scale import softmax
from mtljax.weighting.common.preference import equal_weights


class DWAState(NamedTuple):
    """Mean losses of the last periods, each field ``[T]``: tasks count their own steps.

    Attributes:
      running: mean loss of the current period.
      steps: int32, steps in it so far.
      last: mean loss of the last period that is over.
      before: mean loss of the period before that one.
      periods: int32, periods that are over, counted up to 2.
    """

    running: jax.Array
    steps: jax.Array
    last: jax.Array
    before: jax.Array
    periods: jax.Array


def dwa(temperature: float | jax.Array = 2.0, period: int = 100) -> Weighting:
    r"""Gives more weight to a task whose loss falls more slowly: dynamic weight average.

    Liu, Johns and Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019, arXiv
    1803.10704. With the mean losses :math:`\bar L_i` of the last two periods,

    .. math:: w_i = m \operatorname{softmax}_i(r_i / \tau), \qquad
       r_i = \bar L_i(e - 1) / \bar L_i(e - 2).

    Weights change once a period: the paper's period is an epoch, here it is a number of steps, for
    a mixture of tasks has no common epoch. A task counts just the steps in which it is present,
    and has r = 1 until it has seen two periods. The weights are on the sum scale.

    Signals: ``losses``. State: `DWAState`.

    | input | weights |
    |---|---|
    | first two periods | 1 |
    | one task | 1 |
    | mean loss 0 two periods ago | as if its loss had not changed, r = 1 |
    | negative losses | the same formula; r says little |
    | ratios of any size | finite, they sum to m |
    | NaN or infinite loss | 1 for the other tasks |

    When to use: a cheap and slow correction of equal weights is enough: it never moves far from
    them.

    Args:
      temperature: positive; the larger, the closer the weights are to 1.
      period: steps that a mean loss is taken over, 1 or more.

    Returns:
      A loss-only `Weighting` with a `DWAState`.

    Raises:
      TypeError: period not an integer.
      ValueError: temperature not positive and finite, or period below 1.

    >>> method = dwa(period=1)
    >>> state = method.init(2)
    >>> for losses in ([4.0, 4.0], [4.0, 1.0], [4.0, 1.0]):
    ...     weights, state = method.update(jnp.array(losses), state)
    >>> weights.tolist()  # the second loss fell to a quarter
    [1.185, 0.815]
    """
    check_positive("temperature", temperature)
    period = check_count("period", period)

    def init(num_tasks):
        zeros, none = jnp.zeros(num_tasks), jnp.zeros(num_tasks, jnp.int32)
        return DWAState(zeros, none, jnp.array(zeros), jnp.array(zeros), jnp.array(none))

    def update(losses, state, *, present):
        comparable = (state.periods == 2) & (state.before != 0)
        ratios = jnp.where(comparable, state.last / jnp.where(comparable, state.before, 1), 1)
        weights = softmax(ratios / temperature, present) * jnp.sum(present)

        steps = state.steps + 1
        # A mean of means, since a sum of many losses loses digits.
        share = 1 / steps.astype(losses.dtype)
        running = (1 - share) * state.running + share * losses
        over = steps >= period
        return weights, DWAState(
            jnp.where(over, 0, running),
            jnp.where(over, 0, steps),
            jnp.where(over, running, state.last),
            jnp.where(over, state.last, state.before),
            jnp.minimum(state.periods + over, 2),
        )

    return guard(
        init,
        update,
        fallback=lambda state, counted: equal_weights(counted, "sum"),
        per_task=DWAState._fields,
        ahead=True,
    )

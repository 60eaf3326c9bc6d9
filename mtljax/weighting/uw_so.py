"""UW-SO: a softmax of the inverse losses."""

import jax
import jax.numpy as jnp

from mtljax.weighting.common.arguments import check_positive
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.log_scale import softmax
from mtljax.weighting.common.preference import equal_weights


def uw_so(temperature: float | jax.Array = 1.0) -> Weighting:
    r"""Gives more weight to a task whose loss is small: soft optimal uncertainty weights.

    Kirchdorfer, Elich, Kutsche, Stuckenschmidt, Schott and Köhler, "Analytical Uncertainty-Based
    Loss Weighting in Multi-Task Learning", GCPR 2024, arXiv 2408.07985. The weights that
    minimise the objective of `uncertainty` at fixed losses are the inverse losses; here they go
    through a softmax:

    .. math:: w_i = \operatorname{softmax}_i \left( \frac{1}{\tau L_i} \right).

    Weights sum to 1. The temperature is in units of an inverse loss and has to be tuned: small, and
    the task with the smallest loss gets all the weight; large, and the weights are equal.

    Signals: ``losses``. Stateless.

    | input | weights |
    |---|---|
    | one task | 1 |
    | equal losses | equal |
    | a loss of 0 | all the weight, shared with others of 0 |
    | a negative loss | equal |
    | NaN or infinite loss | equal for the other tasks |

    When to use: losses that are likelihoods of different scale, as for `uncertainty`, where one
    more number can be tuned and the weights should follow the losses at once.

    Args:
      temperature: positive.

    Returns:
      A stateless, loss-only `Weighting`.

    Raises:
      ValueError: temperature not positive and finite.

    >>> method = uw_so(temperature=2.0)
    >>> method.update(jnp.array([1.0, 0.5]), method.init(2))[0].round(3)
    Array([0.378, 0.622], dtype=float32)
    """
    check_positive("temperature", temperature)

    def update(losses, state, *, present):
        inverse = jnp.where(losses > 0, 1 / jnp.where(losses > 0, losses, 1), jnp.inf)
        shares = softmax(inverse / temperature, present)
        negative = jnp.any(present & (losses < 0))
        return jnp.where(negative, equal_weights(present, "mean"), shares), state

    return guard(
        lambda num_tasks: (),
        update,
        fallback=lambda state, counted: equal_weights(counted, "mean"),
    )

"""IMTL-L: learned weights that bring all losses to one size."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.weighting.common.adam import AdamState, adam_init, adam_step
from mtljax.weighting.common.arguments import check_positive
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard

_LIMIT = 20.0


class IMTLLState(NamedTuple):
    """Log weights ``log_weight [T]`` and the Adam state that moves them."""

    log_weight: jax.Array
    adam: AdamState


def imtl_l(lr: float | jax.Array = 1e-2) -> Weighting:
    r"""Learns a log weight :math:`s_i` a task such that all weighted losses become 1.

    Liu, Li, Kuang, Xue, Chen, Yang, Liao and Zhang, "Towards Impartial Multi-task Learning", ICLR
    2021, the loss balance (IMTL-L). The objective is

    .. math:: \sum_i e^{s_i} L_i - s_i, \qquad w_i = e^{s_i},

    and :math:`s_i` descends along :math:`w_i L_i - 1`, by Adam, from 0. It ends at
    :math:`w_i = 1/L_i`, whatever the scale of a loss. The weights of a step are made before s
    moves. They are on the sum scale.

    Signals: ``losses``. State: `IMTLLState`.

    | input | weights |
    |---|---|
    | first step | 1 |
    | one task | the same formula |
    | loss 0 or negative | grow, up to e^20 |
    | loss of any size | finite, down to e^-20 |
    | NaN or infinite loss | the current weights of the other tasks |

    When to use: the weighted losses should become equal, without a noise model behind them. Apart
    from a factor 2, the regression form of `uncertainty` is the same.

    Args:
      lr: Adam's learning rate for s, positive. No weight decay.

    Returns:
      A loss-only `Weighting` with an `IMTLLState`.

    Raises:
      ValueError: lr not positive and finite.

    >>> method = imtl_l()
    >>> weights, state = method.update(jnp.array([2.0, 0.1]), method.init(2))
    >>> weights
    Array([1., 1.], dtype=float32)
    >>> state.log_weight.round(4)
    Array([-0.01,  0.01], dtype=float32)
    """
    check_positive("lr", lr)

    def init(num_tasks):
        return IMTLLState(jnp.zeros(num_tasks), adam_init(num_tasks))

    def update(losses, state, *, present):
        del present
        weights = jnp.exp(state.log_weight)
        step, adam = adam_step(weights * losses - 1, state.adam, lr)
        moved = jnp.clip(state.log_weight + step, -_LIMIT, _LIMIT)
        return weights, IMTLLState(moved, adam)

    return guard(
        init,
        update,
        fallback=lambda state, counted: jnp.exp(state.log_weight),
        per_task=("log_weight", "adam"),
        ahead=True,
    )

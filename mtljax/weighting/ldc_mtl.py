"""Learned weights that keep the weighted losses close to each other."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.weighting.common.adam import AdamState, adam_init, adam_step
from mtljax.weighting.common.arguments import check_choice, check_positive, check_range
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.log_scale import softmax

_PAIRS = ("next", "all")


class LDCMTLState(NamedTuple):
    """Logits ``[T]``, the Adam state that moves them, first losses ``[T]``, 0 before the first."""

    logits: jax.Array
    adam: AdamState
    first: jax.Array


def ldc_mtl(
    lam: float | jax.Array = 0.1,
    lr: float | jax.Array = 1e-3,
    pairs: str = "next",
    relative: bool = False,
) -> Weighting:
    r"""Learns weights that sum to 1, with a penalty on differences of the weighted losses.

    Xiao, Dong, Zou and Ji, "LDC-MTL: Balancing Multi-Task Learning through Scalable Loss
    Discrepancy Control", arXiv 2502.08585. With :math:`\sigma = \operatorname{softmax}(\xi)` the
    objective of parameters and logits is

    .. math:: F = \sum_i \sigma_i L_i + \lambda \sum_{i < m} |\sigma_i L_i - \sigma_{i+1} L_{i+1}|.

    Weights are its derivatives by the losses,
    :math:`w_i = \sigma_i (1 + \lambda (e_i - e_{i-1}))`, where :math:`e_i` is the sign of the i-th
    difference and 0 outside; :math:`\xi` descends along F by Adam, from 0, after the weights of the
    step are made. The paper's :math:`\sigma` comes from a small network that sees the features;
    here it is one logit a task. Neighbours are those among the tasks that are present, in the
    order of the tasks.

    Signals: ``losses``. State: `LDCMTLState`.

    | input | weights |
    |---|---|
    | first step, equal losses | 1/m |
    | one task | 1 |
    | equal weighted losses | sigma: the subgradient 0 of the penalty |
    | losses of any size or sign | between 0 and 2 sigma |
    | NaN or infinite loss | the current sigma of the other tasks |

    When to use: the weighted losses should stay close to each other at the price of one backward
    pass.

    Args:
      lam: weight of the penalty, 0 to 1/2: above, weights could be negative.
      lr: Adam's learning rate for the logits, positive.
      pairs: ``'next'`` compares neighbours; ``'all'`` compares every pair, times 2/m, so that the
        penalty keeps its size, and the order of the tasks does not matter.
      relative: divide every loss by the size of its first value that is not 0. The weights are
        divided by it as well: they are those of the losses as given.

    Returns:
      A loss-only `Weighting` with an `LDCMTLState`.

    Raises:
      ValueError: lam outside [0, 1/2], lr not positive and finite, or other pairs.

    >>> method = ldc_mtl()
    >>> method.update(jnp.array([3.0, 1.0]), method.init(2))[0].tolist()
    [0.55, 0.45]
    """
    check_range("lam", lam, 0, 0.5)
    check_positive("lr", lr)
    check_choice("pairs", pairs, _PAIRS)

    def init(num_tasks):
        zeros = jnp.zeros(num_tasks)
        return LDCMTLState(zeros, adam_init(num_tasks), jnp.array(zeros))

    def sides(weighted: jax.Array, present: jax.Array) -> jax.Array:
        """How often a weighted loss is the larger of a pair, less how often the smaller."""
        rank = jnp.cumsum(present)
        distance = jnp.abs(rank[:, None] - rank)
        compared = present[:, None] & present
        share = 1.0
        if pairs == "next":
            compared &= distance == 1
        else:
            share = 2 / jnp.maximum(jnp.sum(present), 1).astype(weighted.dtype)
        # Compared, not subtracted: a fused multiply-add makes the difference of equal products
        # their rounding error.
        column = weighted[:, None]
        signs = (column > weighted).astype(weighted.dtype) - (column < weighted)
        return share * jnp.sum(jnp.where(compared, signs, 0), axis=1)

    def update(losses, state, *, present):
        tiny, largest = jnp.finfo(losses.dtype).tiny, jnp.finfo(losses.dtype).max
        first, unit = state.first, 1.0
        if relative:
            first = jnp.where(first < tiny, jnp.abs(losses), first)
            unit = jnp.where(first < tiny, 1, first)
        shares = softmax(state.logits, present)
        scaled = jnp.clip(losses / unit, -largest / 8, largest / 8)
        factors = 1 + lam * sides(shares * scaled, present)
        gradient = factors * scaled
        step, adam = adam_step(shares * (gradient - jnp.sum(shares * gradient)), state.adam, lr)
        weights = shares * factors / unit
        return weights, LDCMTLState(state.logits + step, adam, first)

    return guard(
        init,
        update,
        fallback=lambda state, counted: softmax(state.logits, counted),
        per_task=LDCMTLState._fields,
    )

"""Uncertainty weighting: weights from learned noise levels."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.weighting.common.adam import AdamState, adam_init, adam_step
from mtljax.weighting.common.arguments import check_choice, check_positive
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard

_KINDS = ("classification", "regression")
_LIMIT = 20.0


class UncertaintyState(NamedTuple):
    """Log variances ``log_variance [T]`` and the Adam state that moves them."""

    log_variance: jax.Array
    adam: AdamState


def uncertainty(
    kind: str | Sequence[str] = "classification", lr: float | jax.Array = 1e-2
) -> Weighting:
    r"""Learns a log variance :math:`s_i` a task and weighs its loss by :math:`e^{-s_i}`.

    Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses", CVPR 2018,
    arXiv 1705.07115. The objective is

    - classification: :math:`\sum_i L_i e^{-s_i} + s_i/2`, so :math:`w_i = e^{-s_i}`;
    - regression: :math:`\sum_i L_i e^{-s_i}/2 + s_i/2`, so :math:`w_i = e^{-s_i}/2`.

    In both :math:`s_i` descends along :math:`1/2 - w_i L_i`, by Adam, from 0. It ends where
    :math:`w_i L_i = 1/2`: every task contributes the same, whatever the scale of its loss. The
    weights of a step are made before s moves. They are on the sum scale.

    Signals: ``losses``. State: `UncertaintyState`.

    | input | weights |
    |---|---|
    | first step | 1 (classification), 1/2 (regression) |
    | one task | the same formula |
    | loss 0 | grow, up to e^20 |
    | negative loss | grow, up to e^20 (the objective has no minimum) |
    | loss of any size | finite, down to e^-20 |
    | NaN or infinite loss | the current weights of the other tasks |

    When to use: losses that are likelihoods of different scale. It costs nothing.

    Args:
      kind: ``'classification'`` or ``'regression'``, for all tasks or one for each.
      lr: Adam's learning rate for s, positive. No weight decay.

    Returns:
      A loss-only `Weighting` with an `UncertaintyState`. Its `init` raises ValueError if the
      number of kinds is not that of the tasks.

    Raises:
      ValueError: another kind, or lr not positive and finite.

    >>> method = uncertainty()
    >>> weights, state = method.update(jnp.array([2.0, 0.1]), method.init(2))
    >>> weights
    Array([1., 1.], dtype=float32)
    >>> state.log_variance.round(4)
    Array([ 0.01, -0.01], dtype=float32)
    """
    kinds = kind if isinstance(kind, str) else tuple(kind)
    for name in (kinds,) if isinstance(kinds, str) else kinds:
        check_choice("kind", name, _KINDS)
    check_positive("lr", lr)

    def factors(num_tasks: int) -> np.ndarray:
        names = (kinds,) * num_tasks if isinstance(kinds, str) else kinds
        if len(names) != num_tasks:
            raise ValueError(f"kind: {len(names)} given for {num_tasks} tasks")
        return np.array([0.5 if name == "regression" else 1.0 for name in names])

    def weigh(log_variance: jax.Array) -> jax.Array:
        factor = jnp.asarray(factors(log_variance.size), log_variance.dtype)
        return factor * jnp.exp(-log_variance)

    def init(num_tasks: int) -> UncertaintyState:
        factors(num_tasks)
        return UncertaintyState(jnp.zeros(num_tasks), adam_init(num_tasks))

    def update(losses, state, *, present):
        del present
        weights = weigh(state.log_variance)
        step, adam = adam_step(0.5 - weights * losses, state.adam, lr)
        moved = jnp.clip(state.log_variance + step, -_LIMIT, _LIMIT)
        return weights, UncertaintyState(moved, adam)

    return guard(
        init,
        update,
        fallback=lambda state, counted: weigh(state.log_variance),
        per_task=("log_variance", "adam"),
        ahead=True,
    )

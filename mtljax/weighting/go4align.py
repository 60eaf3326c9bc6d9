"""GO4Align: one weight for each group of tasks with a similar risk."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.solvers import kmeans
from mtljax.weighting.common.arguments import check_count, check_positive
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.log_scale import log_losses, log_softmax
from mtljax.weighting.common.preference import equal_weights


class GO4AlignState(NamedTuple):
    """Log probabilities of the tasks ``[T]``, from their losses so far."""

    log_probability: jax.Array


def go4align(num_groups: int = 2, eta: float | jax.Array = 1e-4) -> Weighting:
    r"""Groups tasks by their risk and gives each group one weight.

    Shen, Wang, Xiao, van Noord and Worring, "GO4Align: Group Optimization for Multi-Task
    Alignment", NeurIPS 2024, arXiv 2404.06486. The probabilities p of the tasks, from 1/m,
    and their scaled losses q are

    .. math:: p_i \propto p_i \exp(-\eta L_i), \qquad q_i = p_i \sum_k L_k / L_i.

    The numbers q are split into groups with the least squared distance to the group means (1-D
    k-means, here exact and therefore deterministic), and the weight of a task is the mean of q in
    its group. As p starts uniform, equal losses have weights 1: they are on the sum scale.

    Signals: ``losses``. State: `GO4AlignState`.

    | input | weights |
    |---|---|
    | equal losses from the start | 1 |
    | one task | 1 |
    | one group | the mean of q for every task |
    | as many groups as tasks, or more | q |
    | loss 0 or negative | as for the smallest positive normal number |
    | losses far apart | q is limited to 1e-19 and 1e19 (float32) |
    | a loss of 1/eta and more | p falls at once, and hardly recovers |
    | NaN or infinite loss | 1 for the other tasks |

    When to use: many tasks with noisy losses that fall into a few groups: the tasks of a group
    share one weight, which averages their noise.

    Args:
      num_groups: 1 or more.
      eta: how fast the probabilities follow the losses, positive.

    Returns:
      A loss-only `Weighting` with a `GO4AlignState`.

    Raises:
      TypeError: num_groups not an integer.
      ValueError: num_groups below 1, or eta not positive and finite.

    >>> method = go4align(num_groups=2)
    >>> method.update(jnp.array([1.0, 4.0, 4.0]), method.init(3))[0].round(2)
    Array([3.  , 0.75, 0.75], dtype=float32)
    """
    num_groups = check_count("num_groups", num_groups)
    check_positive("eta", eta)

    def init(num_tasks):
        return GO4AlignState(jnp.full(num_tasks, -jnp.log(float(num_tasks)), float))

    def update(losses, state, *, present):
        # The sum over the tasks present stays, so that an absent task keeps its probability.
        limit = jnp.finfo(losses.dtype).max / 8
        before = jnp.where(present, state.log_probability.astype(losses.dtype), 0)
        lowered = before - jnp.clip(eta * losses, -limit, limit)
        shares = log_softmax(lowered, present)
        mass = (before - log_softmax(before, present))[jnp.argmax(present)]
        log_probability = jnp.clip(shares + mass, -limit, limit)

        logs = log_losses(losses)
        half = -math.log(jnp.finfo(losses.dtype).tiny) / 2
        # log sum_k L_k - log L_i is minus the log softmax of the log losses.
        scaled = jnp.exp(jnp.clip(shares - log_softmax(logs, present), -half, half))
        scaled = jnp.where(present, scaled, 0)
        groups = kmeans(scaled, num_groups, present)
        same = (groups[:, None] == groups) & present
        weights = jnp.sum(jnp.where(same, scaled, 0), axis=1) / jnp.maximum(same.sum(axis=1), 1)
        return weights, GO4AlignState(log_probability)

    return guard(
        init,
        update,
        fallback=lambda state, counted: equal_weights(counted, "sum"),
        per_task=("log_probability",),
    )

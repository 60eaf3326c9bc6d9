"""FAMO: weights with which all log losses fall at one rate, from losses alone."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.weighting.common.adam import AdamState, adam_init, adam_step
from mtljax.weighting.common.arguments import (
    check_choice,
    check_each,
    check_positive,
    check_range,
    each,
)
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.log_scale import softmax
from mtljax.weighting.common.preference import equal_weights

_POST = ("same", "next")


class FAMOState(NamedTuple):
    """Learned logits, and the losses that the next step compares with.

    Attributes:
      logits: ``[T]``, whose softmax is z.
      adam: what moves them.
      losses: ``[T]``, of the last step of a task.
      seen: bool ``[T]``, whether a task was in the last step.
    """

    logits: jax.Array
    adam: AdamState
    losses: jax.Array
    seen: jax.Array


def famo(
    lr: float | jax.Array = 0.025,
    gamma: float | jax.Array = 1e-3,
    min_losses: float | Sequence[float] | np.ndarray = 0.0,
    post: str = "same",
) -> Weighting:
    r"""Learns weights such that all log losses fall by the same amount a step.

    Liu, Feng, Stone and Liu, "FAMO: Fast Adaptive Multitask Optimization", NeurIPS 2023, arXiv
    2306.03792. With :math:`z = \operatorname{softmax}(\xi)` and losses above their minima
    :math:`D_i = L_i - b_i`,

    .. math:: w_i = \frac{z_i / D_i}{\sum_k z_k / D_k}.

    After a step, :math:`\delta_i = \log D_i^{before} - \log D_i^{after}` tells how far a task fell;
    :math:`\xi` descends along :math:`(\operatorname{diag} z - z z^\top) \delta + \gamma \xi`, by
    Adam: a task that fell further loses weight. With b = 0 the weighted losses
    do not depend on the unit of a loss. The weights sum to 1.

    Signals: ``losses``, and ``losses_after`` unless ``post='next'``: the losses of the batch of the
    step *before* this one, with the random keys of that step, at the parameters that it made. They
    are ignored at the first step, and for a task that is absent from this step or was from the one
    before, whose logit then stays. State: `FAMOState`.

    | input | weights |
    |---|---|
    | first step, equal losses | 1/m |
    | one task | 1 |
    | D 0 or less | as for 1e-6 of the larger of the loss and its minimum: nearly all the weight |
    | losses of any size | finite; small shares may round to 0 |
    | NaN or infinite loss | 1/m for the other tasks; the next step compares with the one before |

    When to use: per-task gradients cost too much, and all tasks should progress at one rate. It
    reads losses only.

    Args:
      lr: Adam's learning rate for the logits, positive.
      gamma: weight decay of the logits, 0 or more.
      min_losses: b, a number or ``[T]``: what the losses can at best become.
      post: ``'same'`` compares the losses of one batch before and after the step, which takes one
        more forward pass; ``'next'`` compares with the next batch, which is noisier and costs
        nothing.

    Returns:
      A `Weighting` with a `FAMOState`. Its `init` raises ValueError if `min_losses` has another
      number of tasks.

    Raises:
      TypeError: min_losses not numbers.
      ValueError: lr not positive and finite, gamma negative, min_losses not finite, another post.

    >>> method = famo(post="next")
    >>> weights, state = method.update(jnp.array([1.0, 3.0]), method.init(2))
    >>> weights
    Array([0.75, 0.25], dtype=float32)
    >>> method.update(jnp.array([1.0, 1.0]), state)[0].tolist()  # the second task fell
    [0.512, 0.487]
    """
    check_positive("lr", lr)
    check_range("gamma", gamma, 0, float("inf"))
    minima = check_each("min_losses", min_losses)
    check_choice("post", post, _POST)

    def init(num_tasks):
        each("min_losses", minima, num_tasks)
        zeros = jnp.zeros(num_tasks)
        return FAMOState(zeros, adam_init(num_tasks), jnp.array(zeros), jnp.zeros(num_tasks, bool))

    def log_excess(losses: jax.Array) -> jax.Array:
        least = jnp.asarray(each("min_losses", minima, losses.size), losses.dtype)
        tiny = jnp.finfo(losses.dtype).tiny
        floor = 1e-6 * jnp.maximum(jnp.abs(losses), jnp.abs(least))
        # Halved, since the difference of the largest numbers would overflow.
        excess = jnp.maximum(losses / 2 - least / 2, jnp.maximum(floor / 2, tiny))
        return jnp.log(excess) + math.log(2)

    def update(losses, state, *, present, losses_after=None):
        after = losses if losses_after is None else losses_after
        moved = present & state.seen
        shares = softmax(state.logits, moved)
        fall = jnp.where(
            moved, log_excess(state.losses.astype(losses.dtype)) - log_excess(after), 0
        )
        gradient = shares * (fall - jnp.sum(shares * fall)) + gamma * state.logits
        step, adam = adam_step(gradient, state.adam, lr)
        logits = jnp.where(moved, state.logits + step, state.logits)
        adam = jax.tree.map(lambda new, old: jnp.where(moved, new, old), adam, state.adam)

        weights = softmax(logits - log_excess(losses), present)
        return weights, FAMOState(logits, adam, losses, present)

    return guard(
        init,
        update,
        fallback=lambda state, counted: equal_weights(counted, "mean"),
        requires=("losses",) if post == "next" else ("losses", "losses_after"),
        per_task=("logits", "adam", "losses"),
    )

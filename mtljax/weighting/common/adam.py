"""Adam for the few numbers that a weighting learns, one counter a task.

Kingma and Ba, ICLR 2015, with the defaults of the paper. Each task has a counter of its own, so
that an absent task resumes where it stopped, bias correction included.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

_B1, _B2, _EPS = 0.9, 0.999, 1e-8


class AdamState(NamedTuple):
    """Moments ``[T]`` and steps taken int32 ``[T]``."""

    mean: jax.Array
    square: jax.Array
    count: jax.Array


def adam_init(num_tasks: int) -> AdamState:
    """Returns zero moments."""
    zeros = jnp.zeros(num_tasks)
    return AdamState(zeros, jnp.array(zeros), jnp.zeros(num_tasks, jnp.int32))


def adam_step(
    gradients: jax.Array, state: AdamState, lr: jax.Array | float
) -> tuple[jax.Array, AdamState]:
    """Returns the step ``[T]``, to be added to the parameters, and the new state.

    The gradients are clipped at 1e18 in absolute value, where their squares are still finite.
    """
    limited = jnp.clip(gradients, -1e18, 1e18)
    mean = _B1 * state.mean + (1 - _B1) * limited
    square = _B2 * state.square + (1 - _B2) * limited**2
    count = state.count + 1
    steps = count.astype(mean.dtype)
    # -expm1(n log b) is 1 - b^n, without the rounding of a number near 1.
    unbiased_mean = mean / -jnp.expm1(steps * math.log(_B1))
    unbiased_square = square / -jnp.expm1(steps * math.log(_B2))
    step = unbiased_mean / (jnp.sqrt(unbiased_square) + _EPS)
    return -lr * step, AdamState(mean, square, count)

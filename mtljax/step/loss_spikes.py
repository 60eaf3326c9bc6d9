"""Losses that are far above what those of their task usually are."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

SPIKES = ("keep", "stop", "leave_out", "skip")
DECAY = 0.98
"""Of the moving mean and variance, per step in which the task has a target."""

SEEN = 20
"""Losses of a task before any can be a spike."""


class SpikeState(NamedTuple):
    """What is usual of each task, all ``[T]``.

    Attributes:
      count: losses so far.
      mean: moving mean of them.
      variance: moving variance of them.
    """

    count: jax.Array
    mean: jax.Array
    variance: jax.Array


def initial(num_tasks: int) -> SpikeState:
    """Nothing is known of any task."""
    return SpikeState(*(jnp.zeros(num_tasks, jnp.float32) for _ in range(3)))


def limits(state: SpikeState, deviations: float) -> jax.Array:
    """The loss of each task above which it is a spike: ``mean + deviations * deviation``.

    Args:
      state: of the steps before.
      deviations: how many standard deviations above the mean.

    Returns:
      ``[T]``; infinite while a task has fewer losses than `SEEN`, or all of its were equal.
    """
    deviation = jnp.sqrt(state.variance)
    known = (state.count >= SEEN) & (deviation > 0)
    return jnp.where(known, state.mean + deviations * deviation, jnp.inf)


def spiked(losses: jax.Array, present: jax.Array, limits: jax.Array) -> jax.Array:
    """The tasks whose loss is a spike: present, finite, and above its limit; ``[T]`` bool."""
    return present & jnp.isfinite(losses) & (losses > limits)


def after(
    state: SpikeState, losses: jax.Array, present: jax.Array, limits: jax.Array
) -> SpikeState:
    """The state after a step.

    A spike counts as its limit, so that one moves little, while a rise that lasts is soon usual: it
    multiplies the deviation each time. The variance is that of Finch (2009, "Incremental
    calculation of weighted mean and variance"); early on, all losses so far count the same.

    Args:
      state: before the step.
      losses: ``[T]``, of the step.
      present: ``[T]`` bool, the tasks with a target.
      limits: ``[T]``, those that held in the step.
    """
    seen = present & jnp.isfinite(losses)
    clipped = jnp.where(seen, jnp.minimum(losses, limits), 0).astype(state.mean.dtype)
    count = state.count + seen
    share = jnp.maximum(1 / jnp.maximum(count, 1), 1 - DECAY)
    change = jnp.where(seen, clipped - state.mean, 0)
    mean = state.mean + share * change
    variance = (1 - share) * (state.variance + share * change**2)
    return SpikeState(count, mean, jnp.where(seen, variance, state.variance))

"""What the stages of a step hand to each other."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.optim import MultiObjectiveState
from mtljax.step.extra import Extra
from mtljax.step.loss_spikes import spiked
from mtljax.step.method import Method, reads_gradients


class StepInputs(NamedTuple):
    """What a step reads, apart from its state.

    Attributes:
      batch: the training batch.
      extra: further batches.
      key: random key of the step; None where nothing random is computed.
      present: ``[T]`` bool, the tasks that have a target in the batch.
      task_weights: ``[T]`` float32, the weights ``alpha_i`` of the tasks in the objective.
      signals: those that are no gradients: losses after the step before, validation losses.
      limits: ``[T]``, losses above which a task is left out; None where none is.
    """

    batch: Any
    extra: Extra
    key: jax.Array | None
    present: jax.Array
    task_weights: jax.Array
    signals: dict[str, jax.Array]
    limits: jax.Array | None = None

    def counted(self, losses: jax.Array) -> jax.Array:
        """``[T]`` bool, the tasks that are present and not left out for their loss."""
        if self.limits is None:
            return self.present
        return self.present & ~spiked(losses, self.present, self.limits)


class Measured(NamedTuple):
    """Losses and gradients of one batch, before weighting; sums of them accumulate.

    Attributes:
      objectives: ``[T]``, the losses times the tasks' own weights.
      present: ``[T]``, above 0 for tasks that count.
      shared: gradients of the shared parameters: ``[T, *param]``, or ``[*param]`` where they are
        combined already.
      heads: by task.
      sketches: ``[T, m]`` where these are all that is kept of the per-task gradients.
    """

    objectives: jax.Array
    present: jax.Array
    shared: Any
    heads: Any
    sketches: jax.Array | None = None


class Measurement(NamedTuple):
    """What the first stage of a step returns.

    Attributes:
      losses: ``[T]``, without the tasks' own weights.
      measured: for the second stage; of several batches their mean.
      context: what else the second stage of the same strategy reads.
      aux: what encoders and heads returned besides features and losses; None if nothing.
    """

    losses: jax.Array
    measured: Measured
    context: Any
    aux: Any = None


class Direction(NamedTuple):
    """What the weighting of a step decided.

    Attributes:
      direction: a tree like the parameters, to be subtracted, without the gradient of the penalty.
      weights: ``[T]``, or None for an aggregator.
      not_finite: ``[T]`` bool, tasks present whose loss or gradient is not finite.
      optimizer: the state with the method's part updated.
      gramian: ``[T, T]`` of the shared parameters' gradients, if it was computed.
      row_scale: ``[T]``, what the gradients were divided by before that, or None.
      noise: see `StepMetrics.noise`.
    """

    direction: Any
    weights: jax.Array | None
    not_finite: jax.Array
    optimizer: MultiObjectiveState
    gramian: jax.Array | None = None
    row_scale: jax.Array | None = None
    noise: jax.Array | None = None


def times_task_weights(
    names: tuple[str, ...], task_weights: jax.Array, heads: dict[str, Any]
) -> dict[str, Any]:
    """The gradients of the heads by task, each times its task's own weight of ``[T]``."""
    return {
        name: jax.tree.map(lambda leaf, a=a: leaf * a.astype(leaf.dtype), heads[name])
        for name, a in zip(names, task_weights, strict=True)
        if name in heads
    }


def weigh_heads(
    names: tuple[str, ...],
    method: Method,
    weights: jax.Array,
    mask: jax.Array,
    heads: dict[str, Any],
) -> dict[str, Any]:
    """Each head's gradient times its task's weight, divided by the mean weight if it has units.

    Args:
      names: of the tasks, in the order of the weights.
      method: whose weights they are.
      weights: ``[T]``.
      mask: ``[T]`` bool, tasks present.
      heads: gradients by task.

    Returns:
      A tree like `heads`.
    """
    if reads_gradients(method):
        total = jnp.sum(jnp.abs(weights))
        weights = weights * jnp.sum(mask) / jnp.where(total > 0, total, 1)
    return {
        name: jax.tree.map(lambda leaf, w=w: leaf * w.astype(leaf.dtype), heads[name])
        for name, w in zip(names, weights, strict=True)
        if name in heads
    }

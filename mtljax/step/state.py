"""The state that a step changes, and what it reports."""

from typing import Any, NamedTuple

import jax

from mtljax.gradients import Aux
from mtljax.optim import MultiObjectiveState
from mtljax.solvers import UnitGramian
from mtljax.step.loss_spikes import SpikeState
from mtljax.step.types import Measured


class Memory(NamedTuple):
    """What some weightings read of the step before; None where the method reads neither.

    Attributes:
      losses_after: ``[T]``, the losses of its batch at the parameters that it made.
      weights: ``[T]``, its weights.
    """

    losses_after: jax.Array | None = None
    weights: jax.Array | None = None


class SpikeMemory(NamedTuple):
    """A `Memory` with what is usual of the losses, where spikes are looked for.

    A class of its own, since the checkpoints of other runs have no such field.

    Attributes:
      losses_after: as of `Memory`.
      weights: as of `Memory`.
      spikes: mean and deviation of each task's losses.
    """

    losses_after: jax.Array | None
    weights: jax.Array | None
    spikes: SpikeState


class GradientSums(NamedTuple):
    """Sums over the batches since the last update.

    Attributes:
      count: number of batches, int32.
      measured: the sum of what they measured; `present` counts the batches that a task was in.
    """

    count: jax.Array
    measured: Measured


class TrainState(NamedTuple):
    """Everything that a step changes.

    Attributes:
      step: steps done, int32.
      params: the parameters; of a run ``{"shared": ..., "heads": {task: ...}}``.
      average: moving average of ``params``, which is evaluated; None if there is none.
      optimizer: states of the weighting and of the optimizer.
      memory: of the step before.
      sums: gradients of the batches since the last update; None without accumulation.
    """

    step: jax.Array
    params: Any
    average: Any
    optimizer: MultiObjectiveState
    memory: Memory | SpikeMemory = Memory()
    sums: GradientSums | None = None


class StepMetrics(NamedTuple):
    """What a step reports, all float32; NaN for what it did not compute.

    Attributes:
      losses: ``[T]``, without the tasks' own weights.
      weights: ``[T]``, those of the weighting; None for an aggregator, which has none.
      present: ``[T]``, 1 where a task had a target, else 0.
      penalty: Omega(w).
      gradient_norm: global norm of the direction with the gradient of the penalty, before clipping.
      not_finite: ``[T]``, 1 where the loss or the gradient of a task that is present is not finite.
      updated: 1 if the step changed the parameters.
      skipped: 1 if it did not because of a number that is not finite.
      gradients: cosines ``[T, T]`` and norms ``[T]`` of the per-task gradients; None without
        telemetry.
      noise: ``[T, T]``, products of the differences between the tasks' gradients and those of
        `Extra.half`; None without such a batch, or where the gradients of all tasks are not taken.
      aux: with objectives that have one, `mtljax.gradients.Aux`: what encoders and heads returned
        besides features and losses of this batch; else None.
      spiked: ``[T]``, 1 where the loss of a task is a spike; None where none are looked for.
    """

    losses: jax.Array
    weights: jax.Array | None
    present: jax.Array
    penalty: jax.Array
    gradient_norm: jax.Array
    not_finite: jax.Array
    updated: jax.Array
    skipped: jax.Array
    gradients: UnitGramian | None = None
    noise: jax.Array | None = None
    aux: Aux | None = None
    spiked: jax.Array | None = None


def evaluated_params(state: TrainState) -> Any:
    """The parameters that are evaluated: the moving average where there is one."""
    return state.params if state.average is None else state.average

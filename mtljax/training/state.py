"""The state of a training run, and what a step reports."""

from typing import Any, NamedTuple

import jax

from mtljax.optim import MultiObjectiveState
from mtljax.solvers import UnitGramian
from mtljax.training.update import accumulation


class Memory(NamedTuple):
    """What some weightings want to know of the step before; None where they do not.

    Attributes:
      losses_after: ``[T]``, the losses of its batch at the parameters that it made.
      weights: ``[T]``, its weights.
    """

    losses_after: jax.Array | None = None
    weights: jax.Array | None = None


class TrainState(NamedTuple):
    """Everything that a step changes.

    Attributes:
      step: steps done, int32.
      params: ``{"shared": ..., "heads": {task: ...}}``.
      average: moving average of ``params``, which is evaluated; None if there is none.
      optimizer: state of the weighting and of the optimizer.
      memory: of the step before.
      sums: gradients of the batches since the last update; None without accumulation.
    """

    step: jax.Array
    params: Any
    average: Any
    optimizer: MultiObjectiveState
    memory: Memory = Memory()
    sums: accumulation.Sums | None = None


class StepMetrics(NamedTuple):
    """What a step reports, all float32; NaN for what it did not compute.

    Attributes:
      losses: ``[T]``, as they are, without the tasks' own weights.
      weights: ``[T]``, what the weighting made of them; None for an aggregator without weights.
      present: ``[T]``, 1 where a task had a target, else 0.
      penalty: Omega(w).
      gradient_norm: global norm of the gradient, before clipping.
      not_finite: ``[T]``, 1 where the loss or the gradient of a task that is present is not finite.
      updated: 1 if the step moved the parameters.
      skipped: 1 if it did not because of a number that is not finite.
      gradients: cosines ``[T, T]`` and norms ``[T]`` of the tasks' gradients; None without
        telemetry.
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


def evaluated_params(state: TrainState) -> Any:
    """The parameters that are evaluated: the moving average where there is one."""
    return state.params if state.average is None else state.average

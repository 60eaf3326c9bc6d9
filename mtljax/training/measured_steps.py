"""Steps whose gradients are measured, among others that cost nothing more."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import optax

from mtljax.presets import Config
from mtljax.step.method import Method, reads_gradients
from mtljax.step.state import StepMetrics, TrainState
from mtljax.training.distributed import Distributed, distribute
from mtljax.training.learned_rates import with_measured_steps
from mtljax.training.model import Model
from mtljax.training.objective import StepBatch


def distribute_measured(
    config: Config,
    model: Model,
    method: Method,
    optimizer: optax.GradientTransformation,
    batch: StepBatch,
    devices: Sequence[Any] | None = None,
) -> Distributed:
    """Makes the step of a run, and another where only some of its steps are measured.

    A method that reads gradients measures them in every step, at no cost. For one that does not,
    telemetry is a backward pass a task, which ``gradients.telemetry_every`` asks for now and then;
    so does a mixture whose rates are learned from gradients.

    Args:
      config: of the run.
      model: the model.
      method: its method.
      optimizer: its optimizer.
      batch: the batch of a step, or its shapes.
      devices: the devices to use, all by default.

    Returns:
      A `Distributed`, with a `measuring_step` if steps differ.

    Raises:
      UserError: see `distribute`.
    """
    measured, every = with_measured_steps(config)
    with_telemetry = dataclasses.replace(config.gradients, telemetry=measured)
    config = dataclasses.replace(config, gradients=with_telemetry)
    whole = distribute(config, model, method, optimizer, batch, devices)
    if not measured or every == 1 or reads_gradients(method):
        return whole
    plain = dataclasses.replace(config.gradients, telemetry=False)
    config = dataclasses.replace(config, gradients=plain)
    between = distribute(config, model, method, optimizer, batch, devices)
    return between._replace(measuring_step=whole.step)


def step_of(
    devices: Distributed, config: Config, number: int
) -> Callable[..., tuple[TrainState, StepMetrics]]:
    """The function that does a step of a run, by its number from 1 on."""
    measured = devices.measuring_step
    if measured is None or number % with_measured_steps(config)[1]:
        return devices.step
    return measured

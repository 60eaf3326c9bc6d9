"""The train step of a run: `mtljax.step.train_step` of a model and its configuration."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import optax

from mtljax.modules import init
from mtljax.presets import Config
from mtljax.step import Method, StepMetrics, TrainState, train_step
from mtljax.step.method import Rule
from mtljax.step.options import StepOptions
from mtljax.training.model import Model
from mtljax.training.objective import StepBatch, alike_heads, has_penalty, penalty
from mtljax.training.objectives.device_layout import ONE_PROGRAM, DeviceLayout
from mtljax.training.objectives.model_objectives import model_objectives
from mtljax.training.parameter_rates import frozen_of


class RunStep(NamedTuple):
    """The step of a run as two pure functions.

    Attributes:
      init: ``batch -> TrainState``, draws the parameters; reads only the shapes of the batch.
      update: ``(state, batch, extra=Extra()) -> (state, StepMetrics)``, to be jitted with
        ``donate_argnums=0``.
    """

    init: Callable[[StepBatch], TrainState]
    update: Callable[..., tuple[TrainState, StepMetrics]]


def make_step(
    model: Model,
    method: Method | Rule,
    optimizer: optax.GradientTransformation,
    config: Config,
    layout: DeviceLayout = ONE_PROGRAM,
    seed: int | jax.Array | None = None,
) -> RunStep:
    """Makes the step of a run.

    Args:
      model: the model; the `weight` of each of its tasks is that of its loss in the objective.
      method: a weighting, an Optax aggregator, or a `Method`.
      optimizer: any Optax transformation.
      config: the configuration, of which the step reads the seed, strategy, accumulation, moving
        average, penalties, and what happens at a number that is not finite.
      layout: how the devices share the step.
      seed: in place of that of the configuration, such as an argument of what is compiled.

    Returns:
      A `RunStep`.

    Raises:
      ValueError: see `mtljax.step.train_step`.
    """
    seed = config.seed if seed is None else seed
    options = dataclasses.replace(step_options(config, model), seed=seed)
    if layout.passes == "auto":
        layout = layout._replace(passes=config.gradients.passes)
    step = train_step(model_objectives(model, layout), method, optimizer, options)

    def initial_state(batch: StepBatch) -> TrainState:
        params = init(model.network, jax.random.key(seed), batch)
        return step.init(params, batch)

    return RunStep(initial_state, step.update)


def step_options(config: Config, model: Model) -> StepOptions:
    """The options of a run's step.

    Args:
      config: the configuration.
      model: the model, whose tasks have weights.

    Returns:
      The options of `mtljax.step.train_step`.
    """
    regularizer = config.regularizer
    alike = alike_heads(model) if regularizer.heads_together or regularizer.heads_relation else ()
    of_params = functools.partial(penalty, regularizer, alike=alike, sharing=config.sharing)
    return StepOptions(
        task_weights=tuple(task.weight for task in model.tasks),
        strategy=config.gradients.strategy,
        sketch=config.gradients.sketch,
        telemetry=config.gradients.telemetry,
        accumulate=config.optimizer.accumulate,
        average=config.optimizer.average,
        penalty=of_params if has_penalty(regularizer, config.sharing) else None,
        non_finite=config.non_finite,
        seed=config.seed,
        frozen=frozen_of(config),
        loss_spikes=config.loss_spikes,
        spike_deviations=config.spike_deviations,
    )

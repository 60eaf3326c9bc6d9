"""One training step: pure, to be jitted with its state donated."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtljax.modules import init
from mtljax.optim import MultiObjectiveState, apply_direction, multi_objective, weigh
from mtljax.presets import Config
from mtljax.training.model import Model
from mtljax.training.objective import StepBatch, penalty, present_tasks, task_losses
from mtljax.weighting import Weighting


class TrainState(NamedTuple):
    """Everything that a step changes.

    Attributes:
      step: steps done, int32.
      params: ``{"shared": ..., "heads": {task: ...}}``.
      average: moving average of ``params``, which is evaluated; None if there is none.
      optimizer: state of the weighting and of the optimizer.
    """

    step: jax.Array
    params: Any
    average: Any
    optimizer: MultiObjectiveState


class StepMetrics(NamedTuple):
    """What a step reports, all float32.

    Attributes:
      losses: ``[T]``, as they are, without the tasks' own weights.
      weights: ``[T]``, what the weighting made of them.
      present: ``[T]``, 1 where a task had a target, else 0.
      penalty: Omega(w).
      gradient_norm: global norm of the gradient, before clipping.
    """

    losses: jax.Array
    weights: jax.Array
    present: jax.Array
    penalty: jax.Array
    gradient_norm: jax.Array


def evaluated_params(state: TrainState) -> Any:
    """The parameters that are evaluated: the moving average where there is one."""
    return state.params if state.average is None else state.average


def make_init(
    model: Model,
    weighting: Weighting,
    optimizer: optax.GradientTransformation,
    config: Config,
) -> Callable[[StepBatch], TrainState]:
    """Return the pure function that draws the first state; it reads a batch for its shapes."""
    num_tasks = len(model.tasks)

    def initial_state(batch: StepBatch) -> TrainState:
        params = init(model.network, jax.random.key(config.seed), batch)
        state: Any = multi_objective(weighting, optimizer, num_tasks).init(params)
        average = jax.tree.map(jnp.copy, params) if config.optimizer.average else None
        return TrainState(jnp.zeros((), jnp.int32), params, average, state)

    return initial_state


def make_step(
    model: Model,
    weighting: Weighting,
    optimizer: optax.GradientTransformation,
    config: Config,
) -> Callable[[TrainState, StepBatch], tuple[TrainState, StepMetrics]]:
    """Return the pure train step ``(state, batch) -> (state, metrics)``.

    The weights come from the losses of this step and are constants to differentiation, so one
    backward pass of ``sum_i w_i a_i L_i + Omega(w)`` is all it takes, where ``a_i`` is the `weight`
    of a task and the weighting reads ``a_i L_i``. The random key of a step is
    ``fold_in(seed, step)``: the same step has the same dropout, whatever came before.

    Args:
      model: the model.
      weighting: a method that reads losses only.
      optimizer: any Optax transformation.
      config: seed, moving average and penalties.

    Returns:
      A function to jit with ``donate_argnums=0``.

    Raises:
      ValueError: if the weighting needs more than losses.
    """
    if not weighting.requires <= {"losses"}:
        raise ValueError(f"the step supplies losses only, not {sorted(weighting.requires)}")

    importance = jnp.asarray([task.weight for task in model.tasks], jnp.float32)

    def step(state: TrainState, batch: StepBatch) -> tuple[TrainState, StepMetrics]:
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        present = present_tasks(model, batch)

        def objective(params):
            losses = task_losses(model, params, batch, key)
            omega = penalty(config.regularizer, params)
            objectives = importance * losses
            weights, optimizer_state = weigh(
                weighting, jax.lax.stop_gradient(objectives), state.optimizer, mask=present
            )
            return jnp.sum(weights * objectives) + omega, (losses, weights, omega, optimizer_state)

        direction, (losses, weights, omega, optimizer_state) = jax.grad(objective, has_aux=True)(
            state.params
        )
        updates, optimizer_state = apply_direction(
            optimizer, direction, optimizer_state, state.params
        )
        params = optax.apply_updates(state.params, updates)
        average = _averaged(state, params, config.optimizer.average)
        metrics = StepMetrics(
            losses, weights, present.astype(jnp.float32), omega, optax.tree.norm(direction)
        )
        return TrainState(state.step + 1, params, average, optimizer_state), metrics

    return step


def _averaged(state: TrainState, params: Any, decay: float) -> Any:
    if state.average is None:
        return None
    # Early on the average is over the steps there have been, so that it forgets the start.
    count = state.step.astype(jnp.float32)
    share = 1.0 - jnp.minimum(decay, (1.0 + count) / (10.0 + count))
    return optax.incremental_update(params, state.average, share)


def task_dict(model: Model, values: Any) -> Mapping[str, float]:
    """Per-task values ``[T]`` by the names of the tasks, as floats."""
    return {task.name: float(value) for task, value in zip(model.tasks, values, strict=True)}

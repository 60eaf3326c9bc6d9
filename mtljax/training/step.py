"""One training step: pure, to be jitted with its state donated."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtljax.modules import init
from mtljax.optim import MultiObjectiveState, apply_direction
from mtljax.presets import Config
from mtljax.training.direction import (
    GRADIENT_SIGNALS,
    Method,
    Rule,
    StepInputs,
    as_method,
    check_heads,
    combined_direction,
    summed_direction,
)
from mtljax.training.model import Model
from mtljax.training.objective import StepBatch, present_tasks, task_losses
from mtljax.training.streams import Extra
from mtljax.weighting import Weighting

NOTHING = Extra()


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
    """

    step: jax.Array
    params: Any
    average: Any
    optimizer: MultiObjectiveState
    memory: Memory = Memory()


class StepMetrics(NamedTuple):
    """What a step reports, all float32.

    Attributes:
      losses: ``[T]``, as they are, without the tasks' own weights.
      weights: ``[T]``, what the weighting made of them; None for an aggregator without weights.
      present: ``[T]``, 1 where a task had a target, else 0.
      penalty: Omega(w).
      gradient_norm: global norm of the gradient, before clipping.
      not_finite: ``[T]``, 1 where the loss or the gradient of a task that is present is not finite.
      skipped: 1 if the step left the parameters as they were.
    """

    losses: jax.Array
    weights: jax.Array | None
    present: jax.Array
    penalty: jax.Array
    gradient_norm: jax.Array
    not_finite: jax.Array
    skipped: jax.Array


def evaluated_params(state: TrainState) -> Any:
    """The parameters that are evaluated: the moving average where there is one."""
    return state.params if state.average is None else state.average


def make_init(
    model: Model,
    method: Method | Rule,
    optimizer: optax.GradientTransformation,
    config: Config,
) -> Callable[[StepBatch], TrainState]:
    """Return the pure function that draws the first state; it reads a batch for its shapes."""
    method = as_method(method)
    num_tasks = len(model.tasks)

    def initial_state(batch: StepBatch) -> TrainState:
        params = init(model.network, jax.random.key(config.seed), batch)
        rule = method.rule.init(
            num_tasks if isinstance(method.rule, Weighting) else params["shared"]
        )
        state = MultiObjectiveState(rule, optimizer.init(params))
        average = jax.tree.map(jnp.copy, params) if config.optimizer.average else None
        memory = _memory(method, rule, num_tasks)
        return TrainState(jnp.zeros((), jnp.int32), params, average, state, memory)

    return initial_state


def _memory(method: Method, rule: Any, count: int) -> Memory:
    needed = method.requires
    first = getattr(rule, "weights", None)
    return Memory(
        jnp.ones(count) if "losses_after" in needed else None,
        (jnp.full(count, 1 / count) if first is None else jnp.array(first))
        if "validation_gradients" in needed
        else None,
    )


def make_step(
    model: Model,
    method: Method | Rule,
    optimizer: optax.GradientTransformation,
    config: Config,
) -> Callable[..., tuple[TrainState, StepMetrics]]:
    """Return the pure train step ``(state, batch, extra=Extra()) -> (state, metrics)``.

    The method sees the losses ``a_i L_i`` and their gradients, where ``a_i`` is the `weight` of a
    task. A weighting that reads no gradients costs one backward pass of ``sum_i w_i a_i L_i``; for
    the others the gradients of the shared parameters are taken task by task, and combined. The
    penalty ``Omega(w)`` is added to the direction. The random key of a step is
    ``fold_in(seed, step)``: the same step has the same dropout, whatever came before.

    Args:
      model: the model.
      method: a weighting, an Optax aggregator, or a `Method`. With its `heads` ``'own'`` a head
        takes the gradient of its task's own loss. With ``'weighted'`` it takes that times the
        weight of the step, for a weighting that reads no gradients, else times this weight divided
        by the mean of all, for they may have units. ``'auto'`` is ``'weighted'`` for a weighting
        that reads no gradients, else ``'own'``.
      optimizer: any Optax transformation.
      config: seed, moving average, penalties, and what a number that is not finite does.

    Returns:
      A function to jit with ``donate_argnums=0``.

    Raises:
      ValueError: for another value of `heads`, or ``'weighted'`` with an aggregator, which has no
        weights.
    """
    method = as_method(method)
    heads = method.heads
    check_heads(method)
    loss_only = isinstance(method.rule, Weighting) and not method.requires & GRADIENT_SIGNALS
    # A gradient that is not finite is left out only where it can be told from the others.
    in_one_pass = loss_only and heads != "own" and config.non_finite != "leave_out"
    weighted_heads = heads == "weighted" or (heads == "auto" and loss_only)
    find = summed_direction if in_one_pass else combined_direction
    importance = jnp.asarray([task.weight for task in model.tasks], jnp.float32)

    def step(
        state: TrainState, batch: StepBatch, extra: Extra = NOTHING
    ) -> tuple[TrainState, StepMetrics]:
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        present = present_tasks(model, batch)
        inputs = StepInputs(batch, extra, key, present, importance)
        found = find(model, method, config, weighted_heads, state, inputs)
        updates, optimizer_state = apply_direction(
            optimizer, found.direction, found.optimizer, state.params
        )
        params: Any = optax.apply_updates(state.params, updates)
        average = _averaged(state, params, config.optimizer.average)
        memory = Memory(
            losses_after=None
            if state.memory.losses_after is None
            else importance * task_losses(model, params, batch, key),
            weights=None if state.memory.weights is None else found.weights,
        )
        new = TrainState(state.step + 1, params, average, optimizer_state, memory)
        norm = optax.tree.norm(found.direction)
        skipped = jnp.zeros((), bool)
        if config.non_finite != "stop":
            skipped = ~jnp.isfinite(norm)
            if config.non_finite == "skip":
                skipped = skipped | jnp.any(found.not_finite)
            kept = jax.tree.map(lambda n, o: jnp.where(skipped, o, n), new, state)
            new = kept._replace(step=new.step)
        metrics = StepMetrics(
            found.losses,
            found.weights,
            present.astype(jnp.float32),
            found.penalty,
            norm,
            found.not_finite.astype(jnp.float32),
            skipped.astype(jnp.float32),
        )
        return new, metrics

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

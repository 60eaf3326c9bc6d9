"""One training step: pure, to be jitted with its state donated."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mtljax.modules import init
from mtljax.optim import MultiObjectiveState, apply_direction
from mtljax.presets import Config
from mtljax.solvers import unit_gramian
from mtljax.training.inputs.extra import Extra
from mtljax.training.model import Model
from mtljax.training.objective import StepBatch, penalty, present_tasks
from mtljax.training.state import Memory, StepMetrics, TrainState
from mtljax.training.update import accumulation
from mtljax.training.update.model_gradients import task_losses
from mtljax.training.update.strategy import LAGGED, choose_strategy, find
from mtljax.training.update.types import Direction, Method, Rule, StepInputs, as_method, check_heads
from mtljax.weighting import SIGNALS, Weighting

NOTHING = Extra()


def make_init(
    model: Model,
    method: Method | Rule,
    optimizer: optax.GradientTransformation,
    config: Config,
) -> Callable[[StepBatch], TrainState]:
    """Return the pure function that draws the first state; it reads a batch for its shapes."""
    method = as_method(method)
    num_tasks = len(model.tasks)
    strategy = choose_strategy(model, method, config)

    def initial_state(batch: StepBatch) -> TrainState:
        params = init(model.network, jax.random.key(config.seed), batch)
        rule = method.rule.init(
            num_tasks if isinstance(method.rule, Weighting) else params["shared"]
        )
        state = MultiObjectiveState(rule, optimizer.init(params))
        average = jax.tree.map(jnp.copy, params) if config.optimizer.average else None
        memory = _memory(method, config, rule, num_tasks)
        first = TrainState(jnp.zeros((), jnp.int32), params, average, state, memory)
        if config.optimizer.accumulate == 1:
            return first

        def measured(batch):
            inputs = _inputs(model, method, config, first, batch, None)
            return strategy.measure(first, inputs)[1]

        return first._replace(sums=accumulation.zeros(jax.eval_shape(measured, batch)))

    return initial_state


def _memory(method: Method, config: Config, rule: Any, count: int) -> Memory:
    needed = method.requires
    weights = None
    if config.gradients.strategy in LAGGED:
        # As if nothing conflicted, which gives the scale of the method's weights.
        assert isinstance(method.rule, Weighting)
        shapes = {name: SIGNALS[name] for name in needed - {"losses"}}
        signals = {n: jnp.eye(count) if k == 2 else jnp.ones(count) for n, k in shapes.items()}
        weights, _ = method.rule.update(jnp.ones(count), rule, **signals)
    elif "validation_gradients" in needed:
        first = getattr(rule, "weights", None)
        weights = jnp.full(count, 1 / count) if first is None else jnp.array(first)
    return Memory(jnp.ones(count) if "losses_after" in needed else None, weights)


def _inputs(
    model: Model,
    method: Method,
    config: Config,
    state: TrainState,
    batch: StepBatch,
    extra: Extra | None,
) -> StepInputs:
    key = jax.random.fold_in(jax.random.key(config.seed), state.step)
    importance = jnp.asarray([task.weight for task in model.tasks], jnp.float32)
    signals = {}
    if "losses_after" in method.requires:
        signals["losses_after"] = state.memory.losses_after
    if "validation_losses" in method.requires:
        found = importance  # in the first state, where the shape is all that counts
        if extra is not None:
            found = importance * task_losses(model, state.params, extra.validation, None)
        signals["validation_losses"] = jax.lax.stop_gradient(found)
    present = present_tasks(model, batch)
    return StepInputs(batch, extra or NOTHING, key, present, importance, signals)


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
    check_heads(method)
    strategy = choose_strategy(model, method, config)
    every = config.optimizer.accumulate

    def step(
        state: TrainState, batch: StepBatch, extra: Extra = NOTHING
    ) -> tuple[TrainState, StepMetrics]:
        inputs = _inputs(model, method, config, state, batch, extra)
        if every == 1:
            losses, found = find(strategy, model, method, config, state, inputs)
            return update(state, inputs, losses, inputs.importance * losses, found)

        assert state.sums is not None
        losses, measured, context = strategy.measure(state, inputs)
        sums, not_finite = accumulation.add(model, strategy, config, state.sums, measured, losses)

        def due(state):
            mean = accumulation.mean(sums)
            found = strategy.decide(state, inputs, mean, context)
            found = found._replace(not_finite=found.not_finite | not_finite)
            new, metrics = update(state, inputs, losses, mean.objectives, found)
            return new._replace(sums=jax.tree.map(jnp.zeros_like, sums)), metrics

        def hold(state):
            shapes = jax.eval_shape(due, state)[1]
            unknown = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), shapes)
            skipped = jnp.any(not_finite) & (config.non_finite == "skip")
            known = unknown._replace(
                losses=losses,
                present=inputs.present.astype(jnp.float32),
                not_finite=not_finite.astype(jnp.float32),
                updated=jnp.zeros(()),
                skipped=skipped.astype(jnp.float32),
            )
            return state._replace(step=state.step + 1, sums=sums), known

        return jax.lax.cond(sums.count == every, due, hold, state)

    def update(
        state: TrainState,
        inputs: StepInputs,
        losses: jax.Array,
        objectives: jax.Array,
        found: Direction,
    ) -> tuple[TrainState, StepMetrics]:
        direction, omega = found.direction, jnp.zeros(())
        if config.regularizer.l2 or config.regularizer.group_lasso:
            omega, slope = jax.value_and_grad(lambda p: penalty(config.regularizer, p))(
                state.params
            )
            direction = jax.tree.map(jnp.add, direction, slope)
        updates, optimizer_state = apply_direction(
            optimizer, direction, found.optimizer, state.params
        )
        params: Any = optax.apply_updates(state.params, updates)
        average = _averaged(state, params, config.optimizer.average)
        memory = Memory(
            None
            if state.memory.losses_after is None
            # A task that was not there keeps what its own last step made of it.
            else jnp.where(
                inputs.present,
                _losses_after(model, params, inputs, losses, objectives),
                state.memory.losses_after,
            ),
            None
            if state.memory.weights is None or found.weights is None
            else jnp.where(inputs.present, found.weights, state.memory.weights),
        )
        new = TrainState(state.step + 1, params, average, optimizer_state, memory, state.sums)
        norm = optax.tree.norm(direction)
        skipped = jnp.zeros((), bool)
        if config.non_finite != "stop":
            skipped = ~jnp.isfinite(norm)
            if config.non_finite == "skip":
                skipped = skipped | jnp.any(found.not_finite)
            kept = jax.tree.map(lambda n, o: jnp.where(skipped, o, n), new, state)
            new = kept._replace(step=new.step)
        metrics = StepMetrics(
            losses,
            found.weights,
            inputs.present.astype(jnp.float32),
            omega,
            norm,
            found.not_finite.astype(jnp.float32),
            1 - skipped.astype(jnp.float32),
            skipped.astype(jnp.float32),
            None
            if found.gramian is None or not config.gradients.telemetry
            else unit_gramian(found.gramian, found.row_scale),
        )
        return new, metrics

    return step


def _losses_after(
    model: Model, params: Any, inputs: StepInputs, losses: jax.Array, objectives: jax.Array
) -> jax.Array:
    """The objectives after the step; of several batches, as the last one changed."""
    after = inputs.importance * task_losses(model, params, inputs.batch, inputs.key)
    before = inputs.importance * losses
    alone = (objectives == before) | (before == 0)
    return jnp.where(alone, after, after * objectives / jnp.where(alone, 1, before))


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

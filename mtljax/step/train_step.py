"""The train step: pure, to be jitted with its state donated."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtljax.gradients.differentiable import check_floating
from mtljax.optim import MultiObjectiveState, apply_direction
from mtljax.solvers import unit_gramian
from mtljax.step import accumulation, loss_spikes
from mtljax.step.extra import NO_EXTRA, Extra
from mtljax.step.frozen import bind, merge, partition
from mtljax.step.method import Method, Rule, as_method, check_heads
from mtljax.step.objectives import Objectives, from_losses, losses_alone
from mtljax.step.options import StepOptions, check_options
from mtljax.step.state import Memory, SpikeMemory, StepMetrics, TrainState
from mtljax.step.strategy import LAGGED, choose_strategy, find_direction
from mtljax.step.types import Direction, StepInputs
from mtljax.weighting import SIGNALS, Weighting


class TrainStep(NamedTuple):
    """A step as two pure functions, in the manner of Optax.

    Attributes:
      init: ``(params, batch=None) -> TrainState``; the batch, or its shapes, where gradients
        accumulate over several.
      update: ``(state, batch, extra=Extra()) -> (state, StepMetrics)``, to be jitted with
        ``donate_argnums=0``. `extra` has the further batches that the method reads.
    """

    init: Callable[..., TrainState]
    update: Callable[..., tuple[TrainState, StepMetrics]]


def train_step(
    objectives: Objectives | Mapping[str, Callable[..., jax.Array]],
    method: Method | Rule,
    optimizer: optax.GradientTransformation,
    options: StepOptions | None = None,
    **settings: Any,
) -> TrainStep:
    """Makes the step that minimizes several objectives with a multi-objective method.

    The method is called with the losses ``a_i L_i`` and their gradients, where ``a_i`` are the
    tasks' own weights. A weighting that reads no gradients costs one backward pass of
    ``sum_i w_i a_i L_i``; for the others the gradients of the shared parameters are taken task by
    task, and combined. The gradient of the penalty ``Omega(w)`` is added to the direction, which
    the optimizer turns into an update. Nothing in it depends on a model library: parameters are a
    tree of floating point arrays, such as those of Flax Linen, ``nnx.split`` or
    ``equinox.partition``.

    Args:
      objectives: from `from_losses` or `from_encoder`; a mapping from tasks to losses
        ``(params, batch) -> scalar`` is `from_losses` of it.
      method: a weighting of `mtljax.weighting`, an Optax aggregator, or a `Method`.
      optimizer: any Optax transformation that needs no extra arguments; for a line search see
        `mtljax.optim.multi_objective`.
      options: the settings of `StepOptions`; all defaults if None. Parameters that are `frozen`
        need not be floating point.
      **settings: fields of `StepOptions`, in place of those of `options`.

    Returns:
      A `TrainStep`.

    Raises:
      ValueError: for a setting out of range, a strategy that does not suit the method, or heads
        that cannot take the gradient that the method names.
      TypeError: for a setting that `StepOptions` does not have; in `init`, for a parameter that is
        not real floating point, named by its path.

    >>> from mtljax import weighting
    >>> losses = {
    ...     "near": lambda w, batch: jnp.mean((batch["x"] @ w - batch["y"]) ** 2),
    ...     "small": lambda w, batch: jnp.sum(w**2),
    ... }
    >>> step = train_step(losses, weighting.upgrad(), optax.sgd(0.1))
    >>> state = step.init(jnp.array([1.0, -1.0]))
    >>> update = jax.jit(step.update, donate_argnums=0)
    >>> batch = {"x": jnp.eye(2), "y": jnp.array([2.0, 0.0])}
    >>> for _ in range(100):
    ...     state, metrics = update(state, batch)
    >>> int(state.step), metrics.losses.shape
    (100, (2,))
    """
    options = dataclasses.replace(options or StepOptions(), **settings)
    objectives = from_losses(objectives) if isinstance(objectives, Mapping) else objectives
    method = as_method(method)
    check_options(options, len(objectives.names))
    check_heads(method)
    strategy = choose_strategy(objectives, method, options)
    if options.frozen is not None:
        return _with_frozen(objectives, method, optimizer, options)

    def init(params: Any, batch: Any = None) -> TrainState:
        check_floating("params", params)
        num_tasks = len(objectives.names)
        # Aggregators keep something of each shared parameter, weightings of each task.
        shared, _ = objectives.split(params)
        rule = method.rule.init(num_tasks if isinstance(method.rule, Weighting) else shared)
        average = jax.tree.map(jnp.copy, params) if options.average else None
        memory = _initial_memory(method, options, rule, num_tasks)
        optimizer_state = MultiObjectiveState(rule, optimizer.init(params))
        state = TrainState(jnp.zeros((), jnp.int32), params, average, optimizer_state, memory)
        if options.accumulate == 1:
            return state
        if batch is None:
            raise ValueError("init needs a batch, or its shapes, where gradients accumulate")

        def measured(batch: Any) -> Any:
            inputs = _step_inputs(objectives, method, options, state, batch, None)
            return strategy.measure(state, inputs).measured

        return state._replace(sums=accumulation.zeros(jax.eval_shape(measured, batch)))

    def update(
        state: TrainState, batch: Any, extra: Extra = NO_EXTRA
    ) -> tuple[TrainState, StepMetrics]:
        inputs = _step_inputs(objectives, method, options, state, batch, extra)
        if options.accumulate > 1:
            return looked_for_spikes(state, inputs, *accumulated(state, inputs))
        losses, direction, aux = find_direction(
            strategy, objectives, method, options, state, inputs
        )
        scaled = inputs.task_weights * losses
        new, metrics = apply(state, inputs, losses, scaled, direction)
        return looked_for_spikes(state, inputs, new, metrics._replace(aux=aux))

    def looked_for_spikes(
        state: TrainState, inputs: StepInputs, new: TrainState, metrics: StepMetrics
    ) -> tuple[TrainState, StepMetrics]:
        """Names the losses that are spikes, and keeps in mind what is usual."""
        if not isinstance(state.memory, SpikeMemory):
            return new, metrics
        before, losses = state.memory.spikes, metrics.losses
        limits = loss_spikes.limits(before, options.spike_deviations)
        spiked = loss_spikes.spiked(losses, inputs.present, limits)
        if options.loss_spikes == "skip":
            stays = jnp.any(spiked)
            new = _unless(stays, new, state)
            skipped = jnp.maximum(metrics.skipped, stays.astype(jnp.float32))
            metrics = metrics._replace(skipped=skipped, updated=metrics.updated * (1 - stays))
        usual = loss_spikes.after(before, losses, inputs.present, limits)
        memory: Any = new.memory
        new = new._replace(memory=memory._replace(spikes=usual))
        return new, metrics._replace(spiked=spiked.astype(jnp.float32))

    def accumulated(state: TrainState, inputs: StepInputs) -> tuple[TrainState, StepMetrics]:
        """Adds the batch to the sums, and updates the parameters when they are complete."""
        assert state.sums is not None
        losses, measured, context, aux = strategy.measure(state, inputs)
        sums, not_finite = accumulation.add(
            objectives, strategy, options.non_finite, state.sums, measured, losses
        )

        def complete(state: TrainState) -> tuple[TrainState, StepMetrics]:
            mean = accumulation.mean(sums)
            direction = strategy.decide(state, inputs, mean, context)
            direction = direction._replace(not_finite=direction.not_finite | not_finite)
            new, metrics = apply(state, inputs, losses, mean.objectives, direction)
            return new._replace(sums=jax.tree.map(jnp.zeros_like, sums)), metrics

        def incomplete(state: TrainState) -> tuple[TrainState, StepMetrics]:
            # Both branches of the condition report the same arrays; what is unknown here is NaN.
            shapes = jax.eval_shape(complete, state)[1]
            unknown = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), shapes)
            skipped = jnp.any(not_finite) & (options.non_finite == "skip")
            metrics = unknown._replace(
                losses=losses,
                present=inputs.present.astype(jnp.float32),
                not_finite=not_finite.astype(jnp.float32),
                updated=jnp.zeros(()),
                skipped=skipped.astype(jnp.float32),
            )
            return state._replace(step=state.step + 1, sums=sums), metrics

        is_complete = sums.count == options.accumulate
        new, metrics = jax.lax.cond(is_complete, complete, incomplete, state)
        return new, metrics._replace(aux=aux)

    def apply(
        state: TrainState,
        inputs: StepInputs,
        losses: jax.Array,
        scaled: jax.Array,
        direction: Direction,
    ) -> tuple[TrainState, StepMetrics]:
        """Updates parameters, moving average and memory along a direction."""
        gradient, omega = direction.direction, jnp.zeros(())
        if options.penalty is not None:
            omega, omega_gradient = jax.value_and_grad(options.penalty)(state.params)
            gradient = jax.tree.map(jnp.add, gradient, omega_gradient)
        updates, optimizer_state = apply_direction(
            optimizer, gradient, direction.optimizer, state.params
        )
        params: Any = optax.apply_updates(state.params, updates)
        new = TrainState(
            state.step + 1,
            params,
            _averaged(state, params, options.average),
            optimizer_state,
            _memory_after(objectives, state, params, inputs, losses, scaled, direction),
            state.sums,
        )

        norm = optax.tree.norm(gradient)
        skipped = jnp.zeros((), bool)
        if options.non_finite != "stop":
            skipped = ~jnp.isfinite(norm)
            if options.non_finite == "skip":
                skipped = skipped | jnp.any(direction.not_finite)
            new = _unless(skipped, new, state)

        measured = None
        if direction.gramian is not None and options.telemetry:
            measured = unit_gramian(direction.gramian, direction.row_scale)
        return new, StepMetrics(
            losses=losses,
            weights=direction.weights,
            present=inputs.present.astype(jnp.float32),
            penalty=omega,
            gradient_norm=norm,
            not_finite=direction.not_finite.astype(jnp.float32),
            updated=1 - skipped.astype(jnp.float32),
            skipped=skipped.astype(jnp.float32),
            gradients=measured,
            noise=direction.noise,
        )

    return TrainStep(init, update)


def _with_frozen(
    objectives: Objectives,
    method: Method,
    optimizer: optax.GradientTransformation,
    options: StepOptions,
) -> TrainStep:
    """The step of the trained parameters, around which the frozen ones are put aside and back."""
    if objectives.with_frozen is None:
        raise ValueError("frozen: these objectives are of all parameters")

    def of_trained(frozen: Any) -> TrainStep:
        assert objectives.with_frozen is not None
        penalty = None if options.penalty is None else bind(options.penalty, frozen)
        rest = dataclasses.replace(options, frozen=None, penalty=penalty)
        return train_step(objectives.with_frozen(frozen), method, optimizer, rest)

    def init(params: Any, batch: Any = None) -> TrainState:
        trained, frozen = partition(params, options.frozen)
        if not jax.tree.leaves(trained):
            raise ValueError("frozen: all parameters are")
        if not jax.tree.leaves(objectives.split(trained)[0]) and not (
            choose_strategy(objectives, method, options).in_one_pass
        ):
            raise ValueError(
                "frozen: all shared parameters are, so that there are no gradients of them to weigh"
            )
        state = of_trained(frozen).init(trained, batch)
        average = None if state.average is None else jax.tree.map(jnp.copy, params)
        return state._replace(params=params, average=average)

    def update(
        state: TrainState, batch: Any, extra: Extra = NO_EXTRA
    ) -> tuple[TrainState, StepMetrics]:
        trained, frozen = partition(state.params, options.frozen)
        average = None if state.average is None else partition(state.average, options.frozen)[0]
        new, metrics = of_trained(frozen).update(
            state._replace(params=trained, average=average), batch, extra
        )
        average = None if state.average is None else merge(new.average, frozen)
        return new._replace(params=merge(new.params, frozen), average=average), metrics

    return TrainStep(init, update)


def _step_inputs(
    objectives: Objectives,
    method: Method,
    options: StepOptions,
    state: TrainState,
    batch: Any,
    extra: Extra | None,
) -> StepInputs:
    """What a step reads; `extra` is None where only the shapes count."""
    key = None
    if objectives.keyed:
        key = jax.random.fold_in(jax.random.key(options.seed), state.step)
    task_weights = options.task_weights or (1.0,) * len(objectives.names)
    weights = jnp.asarray(task_weights, jnp.float32)
    signals = {}
    if "losses_after" in method.requires:
        signals["losses_after"] = state.memory.losses_after
    if "validation_losses" in method.requires:
        losses = weights
        if extra is not None:
            losses = weights * losses_alone(objectives, state.params, extra.validation, None)
        signals["validation_losses"] = jax.lax.stop_gradient(losses)
    present, limits = objectives.present(batch), None
    if options.loss_spikes == "leave_out":
        assert isinstance(state.memory, SpikeMemory)
        limits = loss_spikes.limits(state.memory.spikes, options.spike_deviations)
    return StepInputs(batch, extra or NO_EXTRA, key, present, weights, signals, limits)


def _unless(undone: jax.Array, new: TrainState, old: TrainState) -> TrainState:
    """The new state, or, where a step is undone, the old one with everything but its number."""
    kept = jax.tree.map(lambda n, o: jnp.where(undone, o, n), new, old)
    return kept._replace(step=new.step)


def _initial_memory(
    method: Method, options: StepOptions, rule: Any, num_tasks: int
) -> Memory | SpikeMemory:
    weights = None
    if options.strategy in LAGGED:
        # As if nothing conflicted, which gives the scale of the method's weights.
        assert isinstance(method.rule, Weighting)
        shapes = {name: SIGNALS[name] for name in method.requires - {"losses"}}
        signals = {
            name: jnp.eye(num_tasks) if rank == 2 else jnp.ones(num_tasks)
            for name, rank in shapes.items()
        }
        weights, _ = method.rule.update(jnp.ones(num_tasks), rule, **signals)
    elif "validation_gradients" in method.requires:
        first = getattr(rule, "weights", None)
        weights = jnp.full(num_tasks, 1 / num_tasks) if first is None else jnp.array(first)
    losses_after = jnp.ones(num_tasks) if "losses_after" in method.requires else None
    if options.loss_spikes == "keep":
        return Memory(losses_after, weights)
    return SpikeMemory(losses_after, weights, loss_spikes.initial(num_tasks))


def _memory_after(
    objectives: Objectives,
    state: TrainState,
    params: Any,
    inputs: StepInputs,
    losses: jax.Array,
    scaled: jax.Array,
    direction: Direction,
) -> Memory | SpikeMemory:
    """The memory for the next step; a task that is absent keeps that of its own last step."""
    losses_after, weights = state.memory.losses_after, state.memory.weights
    if losses_after is not None:
        after = inputs.task_weights * losses_alone(objectives, params, inputs.batch, inputs.key)
        before = inputs.task_weights * losses
        # Of several batches only the last is read again; the mean changes as it does.
        alone = (scaled == before) | (before == 0)
        after = jnp.where(alone, after, after * scaled / jnp.where(alone, 1, before))
        losses_after = jnp.where(inputs.present, after, losses_after)
    if weights is not None and direction.weights is not None:
        weights = jnp.where(inputs.present, direction.weights, weights)
    else:
        weights = None
    return state.memory._replace(losses_after=losses_after, weights=weights)


def _averaged(state: TrainState, params: Any, decay: float) -> Any:
    if state.average is None:
        return None
    # Early on the average is over the steps there have been, so that it forgets the start.
    count = state.step.astype(jnp.float32)
    share = 1.0 - jnp.minimum(decay, (1.0 + count) / (10.0 + count))
    return optax.incremental_update(params, state.average, share)

"""Directions from per-task gradients of the shared parameters, weighed or aggregated."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients import TaskGradients, as_dense, combine, gramian_diagonal
from mtljax.gradients.row_gradients import is_rows
from mtljax.gradients.task_axis import by_task
from mtljax.optim import weigh
from mtljax.step.method import Method, weighted_heads
from mtljax.step.objectives import Objectives, losses_alone
from mtljax.step.options import StepOptions
from mtljax.step.state import TrainState
from mtljax.step.types import (
    Direction,
    Measured,
    Measurement,
    StepInputs,
    times_task_weights,
    weigh_heads,
)
from mtljax.weighting import Weighting


def measure(
    objectives: Objectives, options: StepOptions, state: TrainState, inputs: StepInputs
) -> Measurement:
    """Losses and gradients of every task, times the tasks' own weights."""
    gradients = objectives.task_gradients(state.params, inputs.batch, inputs.key, options.strategy)
    if options.accumulate > 1:
        # Sums are kept in the shapes of the parameters, whatever the layout.
        shared = objectives.layout.to_parameter_shapes(as_dense(gradients.shared), 1)
        gradients = gradients._replace(shared=shared)
    measured = Measured(*_times_task_weights(objectives, inputs, gradients))
    if inputs.limits is not None:
        counted = inputs.counted(gradients.losses)
        measured = _only(objectives, measured, counted | ~inputs.present)
    return Measurement(gradients.losses, measured, None, gradients.aux)


def without_not_finite(objectives: Objectives, measured: Measured) -> tuple[Measured, jax.Array]:
    """Leaves out the tasks with a number that is not finite, and names them: ``[T]`` bool."""
    squares = gramian_diagonal(measured.shared)
    finite = jnp.isfinite(measured.objectives) & jnp.isfinite(squares)
    return _only(objectives, measured, finite), (measured.present > 0) & ~finite


def decide(
    objectives: Objectives,
    method: Method,
    options: StepOptions,
    state: TrainState,
    inputs: StepInputs,
    measured: Measured,
    context: None,
) -> Direction:
    """Calls the method with all signals that it reads, and combines the gradients."""
    del context
    params, needed, layout = state.params, method.requires, objectives.layout
    shared_params, _ = objectives.split(params)
    measured = measured._replace(shared=layout.to_shards(measured.shared))
    signals: dict[str, Any] = dict(inputs.signals)
    noise = _noise(objectives, options, state, inputs, measured.shared)

    # Products with the gradients of an independent batch; the mean of both gradients is combined.
    if "cross_gramian" in needed:
        key = None if inputs.key is None else jax.random.fold_in(inputs.key, 1)
        second = objectives.task_gradients(params, inputs.extra.second, key, options.strategy)
        second_grads = _times_task_weights(objectives, inputs, second)[2]
        signals["cross_gramian"] = layout.cross_gramian(measured.shared, second_grads)
        shared = jax.tree.map(
            lambda a, b: (a + b) / 2, as_dense(measured.shared), as_dense(second_grads)
        )
        measured = measured._replace(shared=shared)

    # The Gramian, or its diagonal alone, which also shows which gradients are finite.
    present = measured.present > 0
    full_gramian = "gramian" in needed or options.telemetry
    products = layout.scaled_gramian if full_gramian else layout.scaled_gramian_diagonal
    scaled = products(measured.shared, present)
    squares = jnp.diagonal(scaled[0]) if full_gramian else scaled[0]
    finite = jnp.isfinite(measured.objectives) & jnp.isfinite(squares)
    not_finite = present & ~finite
    if options.non_finite == "leave_out":
        measured = _only(objectives, measured, finite)
    losses, present, shared, heads, _ = measured
    mask = present > 0
    if "gramian" in needed:
        signals |= {"gramian": scaled[0], "row_scale": scaled[1]}
    if "gramian_diagonal" in needed:
        signals |= {"gramian_diagonal": squares, "row_scale": scaled[1]}

    # One step of gradient descent with the current weights, and validation gradients there.
    if "validation_gradients" in needed:
        assert state.memory.weights is not None
        inner = layout.to_parameter_shapes(combine(state.memory.weights, shared), 0)
        moved = objectives.join(params, _descended(shared_params, inner, method.inner_lr), {})
        validation = objectives.task_gradients(
            moved, inputs.extra.validation, None, options.strategy
        )
        validation_grads = _times_task_weights(objectives, inputs, validation)[2]
        signals["validation_gradients"] = layout.cross_gramian(validation_grads, shared)

    weights = None
    if isinstance(method.rule, Weighting):
        weights, optimizer = weigh(method.rule, losses, state.optimizer, mask=mask, **signals)
        direction = layout.to_parameter_shapes(combine(weights, shared), 0)
        if weighted_heads(method):
            heads = weigh_heads(objectives.names, method, weights, mask, heads)
    else:
        direction, rule = method.rule.update(
            layout.to_parameter_shapes(shared if method.takes_rows else as_dense(shared), 1),
            state.optimizer.weighting,
            shared_params,
            losses=losses,
            mask=mask,
            **_bilevel_keywords(objectives, method, options, state, inputs),
            **signals,
        )
        optimizer = state.optimizer._replace(weighting=rule)
    tree = objectives.join(params, direction, heads)
    known = scaled if full_gramian else (None, None)
    return Direction(tree, weights, not_finite, optimizer, *known, noise)


def _noise(
    objectives: Objectives,
    options: StepOptions,
    state: TrainState,
    inputs: StepInputs,
    shared: Any,
) -> jax.Array | None:
    """Products ``[T, T]`` of the differences between gradients of a batch and of its half."""
    if inputs.extra.half is None:
        return None
    half = objectives.task_gradients(state.params, inputs.extra.half, inputs.key, options.strategy)
    halves = _times_task_weights(objectives, inputs, half)[2]
    products = objectives.layout.cross_gramian
    both = products(shared, halves)
    return products(shared, shared) - both - both.T + products(halves, halves)


def _times_task_weights(
    objectives: Objectives, inputs: StepInputs, gradients: TaskGradients
) -> tuple[jax.Array, jax.Array, Any, dict[str, Any]]:
    """The first four fields of `Measured`."""
    task_weights = inputs.task_weights

    def times(leaf: jax.Array, factors: jax.Array) -> jax.Array:
        return leaf * factors.astype(leaf.dtype).reshape((-1,) + (1,) * (leaf.ndim - 1))

    shared = jax.tree.map(
        lambda leaf: by_task(times, leaf, task_weights), gradients.shared, is_leaf=is_rows
    )
    heads = times_task_weights(objectives.names, task_weights, gradients.heads)
    return task_weights * gradients.losses, inputs.present, shared, heads


def _only(objectives: Objectives, measured: Measured, keep: jax.Array) -> Measured:
    """What was measured, with zeros for the tasks that are not kept ``[T]``."""

    def of_tasks(leaf: jax.Array, keep: jax.Array = keep) -> jax.Array:
        return jnp.where(keep.reshape((-1,) + (1,) * (leaf.ndim - 1)), leaf, 0)

    heads = {
        name: jax.tree.map(lambda leaf, i=i: jnp.where(keep[i], leaf, 0), measured.heads[name])
        for i, name in enumerate(objectives.names)
        if name in measured.heads
    }
    return Measured(
        of_tasks(measured.objectives),
        of_tasks(measured.present),
        jax.tree.map(lambda leaf: by_task(of_tasks, leaf, keep), measured.shared, is_leaf=is_rows),
        heads,
    )


def _bilevel_keywords(
    objectives: Objectives,
    method: Method,
    options: StepOptions,
    state: TrainState,
    inputs: StepInputs,
) -> dict[str, Any]:
    """What an aggregator reads of the validation batch, and of inner steps on training data."""
    keywords: dict[str, Any] = {}
    shared_params, _ = objectives.split(state.params)
    if "validation_grads" in method.requires:
        validation = objectives.task_gradients(
            state.params, inputs.extra.validation, None, options.strategy
        )
        validation_grads = _times_task_weights(objectives, inputs, validation)[2]
        keywords["validation_grads"] = objectives.layout.to_parameter_shapes(
            as_dense(validation_grads), 1
        )
    if "inner_losses" in method.requires:
        weights = state.optimizer.weighting.weights

        def losses_of(shared: Any) -> jax.Array:
            params = objectives.join(state.params, shared, {})
            return inputs.task_weights * losses_alone(objectives, params, inputs.batch, inputs.key)

        gradient = jax.grad(lambda shared: jnp.sum(weights * losses_of(shared)))
        last = jax.lax.fori_loop(
            0,
            method.inner_steps,
            lambda _, shared: _descended(shared, gradient(shared), method.inner_lr),
            shared_params,
        )
        keywords["inner_losses"] = losses_of(last)
    return keywords


def _descended(params: Any, gradient: Any, rate: float) -> Any:
    return jax.tree.map(lambda p, g: p - rate * g.astype(p.dtype), params, gradient)

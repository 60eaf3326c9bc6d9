"""Directions for loss-only weightings: one backward pass of the weighted sum of the losses."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.optim import weigh
from mtljax.step.method import Method
from mtljax.step.objectives import Objectives, losses_and_aux
from mtljax.step.state import TrainState
from mtljax.step.types import Direction, Measured, Measurement, StepInputs, weigh_heads
from mtljax.weighting import SIGNALS, Weighting


def measure(
    objectives: Objectives, method: Method, state: TrainState, inputs: StepInputs
) -> Measurement:
    """The losses, and the gradient of their sum with the weights that they give."""
    rule = method.rule
    assert isinstance(rule, Weighting)
    ahead = rule.ahead and inputs.limits is None  # else weights depend on the losses
    if ahead and objectives.weighted_gradient is not None:
        return _measure_by_group(objectives, rule, state, inputs)

    def weighted_sum(params: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
        losses, aux = losses_and_aux(objectives, params, inputs.batch, inputs.key)
        scaled = inputs.task_weights * losses
        # Weights are constants to differentiation, so they may be computed in between.
        weights, _ = weigh(
            rule,
            jax.lax.stop_gradient(scaled),
            state.optimizer,
            mask=inputs.counted(jax.lax.stop_gradient(losses)),
            **inputs.signals,
        )
        return jnp.sum(weights * scaled), (losses, aux)

    gradient, (losses, aux) = jax.grad(weighted_sum, has_aux=True)(state.params)
    scaled = inputs.task_weights * losses
    measured = Measured(scaled, inputs.counted(losses), *objectives.split(gradient))
    return Measurement(losses, measured, None, aux)


def _measure_by_group(
    objectives: Objectives, rule: Weighting, state: TrainState, inputs: StepInputs
) -> Measurement:
    """The same with weights that are known beforehand: one input group after the other."""
    assert objectives.weighted_gradient is not None
    # Any losses do: they change the state alone, which `decide` updates with those of the step.
    unread = jnp.ones_like(inputs.task_weights)
    weights, _ = weigh(rule, unread, state.optimizer, mask=inputs.present, **inputs.signals)
    found = objectives.weighted_gradient(
        state.params, inputs.batch, inputs.key, weights * inputs.task_weights
    )
    scaled = inputs.task_weights * found.losses
    measured = Measured(scaled, inputs.present, found.shared, found.heads)
    return Measurement(found.losses, measured, None, found.aux)


def decide(
    objectives: Objectives,
    method: Method,
    state: TrainState,
    inputs: StepInputs,
    measured: Measured,
    context: None,
) -> Direction:
    """The gradient as it is, and the method's state updated."""
    del context
    rule = method.rule
    assert isinstance(rule, Weighting)
    weights, optimizer = weigh(
        rule, measured.objectives, state.optimizer, mask=measured.present > 0, **inputs.signals
    )
    not_finite = (measured.present > 0) & ~jnp.isfinite(measured.objectives)
    tree = objectives.join(state.params, measured.shared, measured.heads)
    return Direction(tree, weights, not_finite, optimizer)


def with_kept_weights(
    objectives: Objectives,
    method: Method,
    state: TrainState,
    inputs: StepInputs,
    heads_are_weighted: bool,
) -> tuple[jax.Array, Direction, Any]:
    """A step in which `wrappers.every` keeps its weights, so that no gradient is read.

    Heads and private parameters take their own gradients in the same backward pass: the weights act
    where the cotangents of the features enter the encoder, or, of a task with private parameters,
    where its encoder reads the shared ones.

    Returns:
      Losses ``[T]``, the direction, and what encoders and heads returned besides.
    """
    rule = method.rule
    assert isinstance(rule, Weighting)
    count = inputs.present.size
    unread = {name: jnp.ones((count,) * SIGNALS[name]) for name in method.requires - {"losses"}}
    signals = {**unread, **inputs.signals}
    weights, _ = weigh(rule, jnp.ones(count), state.optimizer, mask=inputs.present, **signals)

    def sum_of_present(params: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
        losses, aux = losses_and_aux(objectives, params, inputs.batch, inputs.key, weights)
        total = jnp.sum(jnp.where(inputs.present, inputs.task_weights * losses, 0))
        return total, (losses, aux)

    gradient, (losses, aux) = jax.grad(sum_of_present, has_aux=True)(state.params)
    scaled = inputs.task_weights * losses
    weights, optimizer = weigh(rule, scaled, state.optimizer, mask=inputs.present, **signals)
    shared, heads = objectives.split(gradient)
    if heads_are_weighted:
        heads = weigh_heads(objectives.names, method, weights, inputs.present, heads)
    not_finite = inputs.present & ~jnp.isfinite(losses)
    tree = objectives.join(state.params, shared, heads)
    return losses, Direction(tree, weights, not_finite, optimizer), aux

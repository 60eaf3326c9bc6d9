"""Strategies that never hold ``[T, *param]``: weights one step late, gradients of the features."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients import combine, gramian
from mtljax.optim import weigh
from mtljax.step.gradient_layout import FullGradients
from mtljax.step.method import Method, weighted_heads
from mtljax.step.objectives import Objectives
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


def measure_lagged(
    objectives: Objectives, options: StepOptions, state: TrainState, inputs: StepInputs
) -> Measurement:
    """Gradients combined with stale weights, each freed once accumulated; sketches or Gramian."""
    assert state.memory.weights is not None
    weights = jnp.where(inputs.present, state.memory.weights, 0) * inputs.task_weights
    size = options.sketch if options.strategy == "sketched" else None
    gradients = objectives.lagged_gradients(state.params, inputs.batch, inputs.key, weights, size)
    sketches = gradients.sketches
    measured = Measured(
        inputs.task_weights * gradients.losses,
        inputs.present,
        gradients.direction,
        times_task_weights(objectives.names, inputs.task_weights, gradients.heads),
        None if sketches is None else sketches * inputs.task_weights[:, None],
    )
    return Measurement(gradients.losses, measured, gradients.gramian, gradients.aux)


def decide_lagged(
    objectives: Objectives,
    method: Method,
    state: TrainState,
    inputs: StepInputs,
    measured: Measured,
    context: Any,
) -> Direction:
    """The direction as it is; the method decides the weights of the next step."""
    if measured.sketches is not None:
        products = gramian(measured.sketches)
    else:
        products = context * jnp.outer(inputs.task_weights, inputs.task_weights)
    assert state.memory.weights is not None
    used_weights = jnp.where(measured.present > 0, state.memory.weights, 0)
    return _weighed(objectives, method, state, inputs, measured, products, used_weights)


def measure_representation(
    objectives: Objectives, state: TrainState, inputs: StepInputs
) -> Measurement:
    """Gradients with respect to the features, and the pull-back from them to the parameters."""
    gradients = objectives.representation_gradients(state.params, inputs.batch, inputs.key)
    features = jax.tree.map(
        lambda leaf: leaf * inputs.task_weights.reshape((-1,) + (1,) * (leaf.ndim - 1)),
        gradients.features,
    )
    heads = times_task_weights(objectives.names, inputs.task_weights, gradients.heads)
    scaled = inputs.task_weights * gradients.losses
    measured = Measured(scaled, inputs.present, features, heads)
    return Measurement(gradients.losses, measured, gradients.pull_back, gradients.aux)


def decide_representation(
    objectives: Objectives,
    method: Method,
    state: TrainState,
    inputs: StepInputs,
    measured: Measured,
    context: Callable[[Any], Any],
) -> Direction:
    """Weights from the Gramian of the features' gradients; one backward pass of the encoder."""
    assert isinstance(objectives.layout, FullGradients)
    products = objectives.layout.feature_gramian(measured.shared)
    direction = _weighed(objectives, method, state, inputs, measured, products, None)
    assert direction.weights is not None
    _, heads = objectives.split(direction.direction)
    shared = context(combine(direction.weights, measured.shared))
    return direction._replace(direction=objectives.join(state.params, shared, heads))


def _weighed(
    objectives: Objectives,
    method: Method,
    state: TrainState,
    inputs: StepInputs,
    measured: Measured,
    products: jax.Array,
    used_weights: jax.Array | None,
) -> Direction:
    rule, present = method.rule, measured.present > 0
    assert isinstance(rule, Weighting)
    signals = dict(inputs.signals)
    if "gramian" in method.requires:
        signals["gramian"] = products
    if "gramian_diagonal" in method.requires:
        signals["gramian_diagonal"] = jnp.diagonal(products)
    weights, optimizer = weigh(rule, measured.objectives, state.optimizer, mask=present, **signals)
    heads = measured.heads
    if weighted_heads(method):
        head_weights = weights if used_weights is None else used_weights
        heads = weigh_heads(objectives.names, method, head_weights, present, heads)
    finite = jnp.isfinite(measured.objectives) & jnp.isfinite(jnp.diagonal(products))
    tree = objectives.join(state.params, measured.shared, heads)
    return Direction(tree, weights, present & ~finite, optimizer, products)

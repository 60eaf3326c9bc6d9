"""Directions without the per-task gradients side by side: lagged weights, representation."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients import combine, gramian
from mtljax.optim import weigh
from mtljax.parallel import psum_with_local_gradient
from mtljax.presets import Config
from mtljax.training.model import Model
from mtljax.training.update.heads import scaled_heads
from mtljax.training.update.model_gradients import lagged_gradients, representation_gradients
from mtljax.training.update.types import (
    Direction,
    Measured,
    Method,
    StepInputs,
    weighted_heads,
)
from mtljax.weighting import Weighting


def measure_lagged(
    model: Model, config: Config, state: Any, inputs: StepInputs
) -> tuple[jax.Array, Measured, Any]:
    """The gradients combined with the weights of the step before; their sketches or Gramian."""
    weights = jnp.where(inputs.present, state.memory.weights, 0) * inputs.importance
    sketch = config.gradients.sketch if config.gradients.strategy == "sketched" else None
    found = lagged_gradients(model, state.params, inputs.batch, inputs.key, weights, sketch)
    measured = Measured(
        inputs.importance * found.losses,
        inputs.present,
        found.direction,
        _own(inputs, found.heads),
        None if found.sketches is None else found.sketches * inputs.importance[:, None],
    )
    return found.losses, measured, found.gramian


def decide_lagged(
    model: Model,
    method: Method,
    state: Any,
    inputs: StepInputs,
    measured: Measured,
    context: Any,
) -> Direction:
    """The direction as it is; weights for the next step."""
    if measured.sketches is not None:
        products = gramian(measured.sketches)
    else:
        products = context * jnp.outer(inputs.importance, inputs.importance)
    used = jnp.where(measured.present > 0, state.memory.weights, 0)
    return _asked(model, method, state, inputs, measured, products, used)


def measure_representation(
    model: Model, config: Config, state: Any, inputs: StepInputs
) -> tuple[jax.Array, Measured, Callable[[Any], Any]]:
    """The gradients with respect to the features, and the way from there to the parameters."""
    del config
    found = representation_gradients(model, state.params, inputs.batch, inputs.key)
    slopes = jax.tree.map(
        lambda leaf: leaf * inputs.importance.reshape((-1,) + (1,) * (leaf.ndim - 1)),
        found.features,
    )
    heads = _own(inputs, found.heads)
    objectives = inputs.importance * found.losses
    return found.losses, Measured(objectives, inputs.present, slopes, heads), found.pull_back


def decide_representation(
    model: Model,
    method: Method,
    state: Any,
    inputs: StepInputs,
    measured: Measured,
    context: Callable[[Any], Any],
) -> Direction:
    """Asks the method about the features' Gramian, and goes through the encoder once."""
    products = psum_with_local_gradient(gramian(measured.shared), model.split.axes)
    found = _asked(model, method, state, inputs, measured, products, None)
    assert found.weights is not None
    shared = context(combine(found.weights, measured.shared))
    return found._replace(direction={**found.direction, "shared": shared})


def _asked(
    model: Model,
    method: Method,
    state: Any,
    inputs: StepInputs,
    measured: Measured,
    products: jax.Array,
    used: jax.Array | None,
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
        heads = scaled_heads(model, method, weights if used is None else used, present, heads)
    finite = jnp.isfinite(measured.objectives) & jnp.isfinite(jnp.diagonal(products))
    whole = {"shared": measured.shared, "heads": {**state.params["heads"], **heads}}
    return Direction(whole, weights, present & ~finite, optimizer, products)


def _own(inputs: StepInputs, heads: dict[str, Any]) -> dict[str, Any]:
    return {
        name: jax.tree.map(lambda leaf, a=a: leaf * a.astype(leaf.dtype), grads)
        for a, (name, grads) in zip(inputs.importance, heads.items(), strict=True)
    }

"""One backward pass of the weighted sum, for a method whose weights hang on no gradient."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.optim import weigh
from mtljax.training.model import Model
from mtljax.training.update.heads import scaled_heads
from mtljax.training.update.model_gradients import task_losses
from mtljax.training.update.types import Direction, Measured, Method, StepInputs
from mtljax.weighting import SIGNALS, Weighting


def measure(
    model: Model, method: Method, state: Any, inputs: StepInputs
) -> tuple[jax.Array, Measured, None]:
    """The losses, and the gradient of their sum with the weights that the method has now."""
    rule = method.rule
    assert isinstance(rule, Weighting)

    def objective(params):
        losses = task_losses(model, params, inputs.batch, inputs.key)
        objectives = inputs.importance * losses
        weights, _ = weigh(
            rule,
            jax.lax.stop_gradient(objectives),
            state.optimizer,
            mask=inputs.present,
            **inputs.signals,
        )
        return jnp.sum(weights * objectives), losses

    slopes, losses = jax.grad(objective, has_aux=True)(state.params)
    objectives = inputs.importance * losses
    return losses, Measured(objectives, inputs.present, slopes["shared"], slopes["heads"]), None


def decide(
    method: Method, state: Any, inputs: StepInputs, measured: Measured, context: None
) -> Direction:
    """The sum as it is, and the method's state moved on."""
    del context
    rule = method.rule
    assert isinstance(rule, Weighting)
    weights, optimizer = weigh(
        rule, measured.objectives, state.optimizer, mask=measured.present > 0, **inputs.signals
    )
    not_finite = (measured.present > 0) & ~jnp.isfinite(measured.objectives)
    whole = {"shared": measured.shared, "heads": {**state.params["heads"], **measured.heads}}
    return Direction(whole, weights, not_finite, optimizer)


def between(
    model: Model, method: Method, state: Any, inputs: StepInputs, weighted: bool
) -> tuple[jax.Array, Direction]:
    """A step in which `every` keeps its weights, so that nothing of the gradients is read.

    The heads take their own gradients in the same backward pass: the weights act where the features
    hand their slopes on to the encoder.
    """
    rule = method.rule
    assert isinstance(rule, Weighting)
    count = inputs.present.size
    unread = {name: jnp.ones((count,) * SIGNALS[name]) for name in method.requires - {"losses"}}
    signals = {**unread, **inputs.signals}
    weights, _ = weigh(rule, jnp.ones(count), state.optimizer, mask=inputs.present, **signals)

    def objective(params):
        losses = task_losses(model, params, inputs.batch, inputs.key, shares=weights)
        return jnp.sum(jnp.where(inputs.present, inputs.importance * losses, 0)), losses

    slopes, losses = jax.grad(objective, has_aux=True)(state.params)
    objectives = inputs.importance * losses
    weights, optimizer = weigh(rule, objectives, state.optimizer, mask=inputs.present, **signals)
    heads = slopes["heads"]
    if weighted:
        heads = scaled_heads(model, method, weights, inputs.present, heads)
    not_finite = inputs.present & ~jnp.isfinite(losses)
    whole = {"shared": slopes["shared"], "heads": {**state.params["heads"], **heads}}
    return losses, Direction(whole, weights, not_finite, optimizer)

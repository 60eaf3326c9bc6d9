"""Per-task gradients of the shared parameters, and what a method makes of them."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.gradients import TaskGradients, combine, gramian_diagonal
from mtljax.optim import weigh
from mtljax.presets import Config
from mtljax.training.model import Model
from mtljax.training.update.heads import scaled_heads
from mtljax.training.update.model_gradients import task_losses
from mtljax.training.update.task_parallel import (
    cross_gramian,
    cut,
    scaled_gramian,
    scaled_gramian_diagonal,
    task_gradients,
    whole,
)
from mtljax.training.update.types import (
    Direction,
    Measured,
    Method,
    StepInputs,
    weighted_heads,
)
from mtljax.weighting import Weighting


def measure(
    model: Model, config: Config, state: Any, inputs: StepInputs
) -> tuple[jax.Array, Measured, None]:
    """Losses and gradients of every task, times the tasks' own weights."""
    strategy = config.gradients.strategy
    found = task_gradients(model, state.params, inputs.batch, inputs.key, strategy)
    if config.optimizer.accumulate > 1:
        shared = whole(model, state.params["shared"], found.shared, 1)
        found = found._replace(shared=shared)
    return found.losses, Measured(*_times(inputs, found)), None


def without_not_finite(model: Model, measured: Measured) -> tuple[Measured, jax.Array]:
    """Leaves out the tasks with a number that is not finite, and names them: ``[T]`` bool."""
    squares = gramian_diagonal(measured.shared)
    finite = jnp.isfinite(measured.objectives) & jnp.isfinite(squares)
    return _only(model, measured, finite), (measured.present > 0) & ~finite


def decide(
    model: Model,
    method: Method,
    config: Config,
    state: Any,
    inputs: StepInputs,
    measured: Measured,
    context: None,
) -> Direction:
    """Asks the method, with all signals that it reads."""
    del context
    params, needed = state.params, method.requires
    like = params["shared"]
    measured = measured._replace(shared=cut(model, like, measured.shared))
    signals: dict[str, Any] = dict(inputs.signals)
    if "cross_gramian" in needed:
        key = jax.random.fold_in(inputs.key, 1)
        second = task_gradients(model, params, inputs.extra.second, key, config.gradients.strategy)
        other = _times(inputs, second)[2]
        signals["cross_gramian"] = cross_gramian(model, like, measured.shared, other)
        shared = jax.tree.map(lambda a, b: (a + b) / 2, measured.shared, other)
        measured = measured._replace(shared=shared)

    present = measured.present > 0
    whole_gramian = "gramian" in needed or config.gradients.telemetry
    scaled = (scaled_gramian if whole_gramian else scaled_gramian_diagonal)(
        model, like, measured.shared, present
    )
    squares = jnp.diagonal(scaled[0]) if whole_gramian else scaled[0]
    finite = jnp.isfinite(measured.objectives) & jnp.isfinite(squares)
    not_finite = present & ~finite
    if config.non_finite == "leave_out":
        measured = _only(model, measured, finite)
    objectives, present, shared, heads, _ = measured
    mask = present > 0
    if "gramian" in needed:
        signals |= {"gramian": scaled[0], "row_scale": scaled[1]}
    if "gramian_diagonal" in needed:
        signals |= {"gramian_diagonal": squares, "row_scale": scaled[1]}
    if "validation_gradients" in needed:
        # One step of gradient descent with the weights at hand, and validation gradients there.
        inner = whole(model, like, combine(state.memory.weights, shared), 0)
        moved = {**params, "shared": _descended(params["shared"], inner, method.inner_lr)}
        found = task_gradients(
            model, moved, inputs.extra.validation, None, config.gradients.strategy
        )
        rows = _times(inputs, found)[2]
        signals["validation_gradients"] = cross_gramian(model, like, rows, shared)

    weights = None
    if isinstance(method.rule, Weighting):
        weights, optimizer = weigh(method.rule, objectives, state.optimizer, mask=mask, **signals)
        direction = whole(model, like, combine(weights, shared), 0)
        if weighted_heads(method):
            heads = scaled_heads(model, method, weights, mask, heads)
    else:
        direction, rule = method.rule.update(
            whole(model, like, shared, 1),
            state.optimizer.weighting,
            params["shared"],
            losses=objectives,
            mask=mask,
            **_bilevel_keywords(model, method, config, state, inputs),
            **signals,
        )
        optimizer = state.optimizer._replace(weighting=rule)
    found = {"shared": direction, "heads": {**params["heads"], **heads}}
    known = scaled if whole_gramian else (None, None)
    return Direction(found, weights, not_finite, optimizer, *known)


def _times(
    inputs: StepInputs, found: TaskGradients
) -> tuple[jax.Array, jax.Array, Any, dict[str, Any]]:
    importance = inputs.importance
    shared = jax.tree.map(
        lambda leaf: leaf * importance.astype(leaf.dtype).reshape((-1,) + (1,) * (leaf.ndim - 1)),
        found.shared,
    )
    heads = {
        name: jax.tree.map(lambda leaf, a=a: leaf * a.astype(leaf.dtype), grads)
        for a, (name, grads) in zip(importance, found.heads.items(), strict=True)
    }
    return importance * found.losses, inputs.present, shared, heads


def _only(model: Model, measured: Measured, keep: jax.Array) -> Measured:
    def of_rows(leaf: jax.Array) -> jax.Array:
        return jnp.where(keep.reshape((-1,) + (1,) * (leaf.ndim - 1)), leaf, 0)

    heads = {
        task.name: jax.tree.map(
            lambda leaf, i=i: jnp.where(keep[i], leaf, 0), measured.heads[task.name]
        )
        for i, task in enumerate(model.tasks)
    }
    return Measured(
        of_rows(measured.objectives),
        of_rows(measured.present),
        jax.tree.map(of_rows, measured.shared),
        heads,
    )


def _bilevel_keywords(
    model: Model, method: Method, config: Config, state: Any, inputs: StepInputs
) -> dict[str, Any]:
    """What an aggregator reads of the validation batch, and of inner steps on training data."""
    keywords: dict[str, Any] = {}
    if "validation_grads" in method.requires:
        found = task_gradients(
            model, state.params, inputs.extra.validation, None, config.gradients.strategy
        )
        rows = _times(inputs, found)[2]
        keywords["validation_grads"] = whole(model, state.params["shared"], rows, 1)
    if "inner_losses" in method.requires:
        weights = state.optimizer.weighting.weights

        def losses_of(shared):
            parts = {**state.params, "shared": shared}
            return inputs.importance * task_losses(model, parts, inputs.batch, inputs.key)

        slope = jax.grad(lambda shared: jnp.sum(weights * losses_of(shared)))
        last = jax.lax.fori_loop(
            0,
            method.inner_steps,
            lambda _, shared: _descended(shared, slope(shared), method.inner_lr),
            state.params["shared"],
        )
        keywords["inner_losses"] = losses_of(last)
    return keywords


def _descended(params: Any, gradient: Any, rate: float) -> Any:
    return jax.tree.map(lambda p, g: p - rate * g.astype(p.dtype), params, gradient)

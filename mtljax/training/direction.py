"""The direction of a step: losses, the signals of the method, and what it makes of them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from optax.experimental import aggregating

from mtljax.gradients import combine, cross_gramian, scaled_gramian, scaled_gramian_diagonal
from mtljax.optim import MultiObjectiveState, weigh
from mtljax.presets import Config
from mtljax.training.gradients import TaskGradients, task_gradients
from mtljax.training.model import Model
from mtljax.training.objective import StepBatch, penalty, task_losses
from mtljax.training.streams import Extra
from mtljax.weighting import Weighting

Rule = Weighting | aggregating.Aggregator

GRADIENT_SIGNALS = frozenset(
    {"gramian", "gramian_diagonal", "cross_gramian", "validation_gradients"}
)


HEADS = ("auto", "own", "weighted")


class Method(NamedTuple):
    """A multi-objective method and how a step serves it.

    Attributes:
      rule: a weighting, or an Optax aggregator.
      requires: what it reads: signals of `mtljax.weighting.SIGNALS`, or keywords of an aggregator
        out of `mtljax.aggregation.REQUIRES`.
      heads: which gradient a head takes, see `make_step`.
      inner_lr: learning rate of the inner steps of bilevel methods, which are gradient descent.
      inner_steps: how many of them, where a method takes several.
    """

    rule: Rule
    requires: frozenset[str] = frozenset({"losses"})
    heads: str = "auto"
    inner_lr: float = 0.1
    inner_steps: int = 5


def as_method(rule: Method | Rule) -> Method:
    """A method served in the usual way."""
    if isinstance(rule, Method):
        return rule
    return Method(rule, rule.requires) if isinstance(rule, Weighting) else Method(rule)


def check_heads(method: Method) -> None:
    """Raises ValueError unless the heads can take the gradient that a method names."""
    if method.heads not in HEADS:
        raise ValueError(f"heads must be one of {', '.join(HEADS)}, got {method.heads!r}")
    if method.heads == "weighted" and not isinstance(method.rule, Weighting):
        raise ValueError("heads must be 'own' for an aggregator, which has no weights")


class StepInputs(NamedTuple):
    """What a step reads.

    Attributes:
      batch: the training batch.
      extra: further batches.
      key: of the step.
      present: ``[T]`` bool, tasks with a target.
      importance: ``[T]``, the tasks' own weights.
    """

    batch: StepBatch
    extra: Extra
    key: jax.Array
    present: jax.Array
    importance: jax.Array


class Direction(NamedTuple):
    """What a step found.

    Attributes:
      direction: a tree like the parameters, to be subtracted.
      losses: ``[T]``, without the tasks' own weights.
      weights: ``[T]``, or None.
      penalty: Omega(w).
      not_finite: ``[T]`` bool, tasks present whose loss or gradient is not finite.
      optimizer: the state with the method's part moved on.
    """

    direction: Any
    losses: jax.Array
    weights: jax.Array | None
    penalty: jax.Array
    not_finite: jax.Array
    optimizer: MultiObjectiveState


def summed_direction(
    model: Model,
    method: Method,
    config: Config,
    weighted_heads: bool,
    state: Any,
    inputs: StepInputs,
) -> Direction:
    """One backward pass of the weighted sum of the losses, for a method that reads no gradients."""
    del weighted_heads  # the only way there is here
    rule = method.rule
    assert isinstance(rule, Weighting)

    def objective(params):
        losses = task_losses(model, params, inputs.batch, inputs.key)
        omega = penalty(config.regularizer, params)
        objectives = inputs.importance * losses
        weights, optimizer = weigh(
            rule,
            jax.lax.stop_gradient(objectives),
            state.optimizer,
            mask=inputs.present,
            **_loss_signals(model, method, state, inputs),
        )
        return jnp.sum(weights * objectives) + omega, (losses, weights, omega, optimizer)

    direction, (losses, weights, omega, optimizer) = jax.grad(objective, has_aux=True)(state.params)
    not_finite = inputs.present & ~jnp.isfinite(losses)
    return Direction(direction, losses, weights, omega, not_finite, optimizer)


def combined_direction(
    model: Model,
    method: Method,
    config: Config,
    weighted_heads: bool,
    state: Any,
    inputs: StepInputs,
) -> Direction:
    """Per-task gradients of the shared parameters, and their combination by the method."""
    params = state.params
    found = task_gradients(model, params, inputs.batch, inputs.key)
    objectives, shared, heads = _times(inputs.importance, found)
    signals: dict[str, Any] = _loss_signals(model, method, state, inputs)
    needed = method.requires
    if "cross_gramian" in needed:
        second = task_gradients(
            model, params, inputs.extra.second, jax.random.fold_in(inputs.key, 1)
        )
        _, other, _ = _times(inputs.importance, second)
        signals["cross_gramian"] = cross_gramian(shared, other)
        shared = jax.tree.map(lambda a, b: (a + b) / 2, shared, other)

    measure = scaled_gramian if "gramian" in needed else scaled_gramian_diagonal
    scaled = measure(shared, inputs.present)
    squares = jnp.diagonal(scaled[0]) if scaled[0].ndim == 2 else scaled[0]
    finite = jnp.isfinite(objectives) & jnp.isfinite(squares)
    not_finite = inputs.present & ~finite
    mask = inputs.present
    if config.non_finite == "leave_out":
        mask = mask & finite
        objectives = jnp.where(finite, objectives, 0)
        shared = jax.tree.map(lambda leaf: _where_rows(finite, leaf), shared)
        heads = {
            task.name: jax.tree.map(
                lambda leaf, i=i: jnp.where(finite[i], leaf, 0), heads[task.name]
            )
            for i, task in enumerate(model.tasks)
        }
    if "gramian" in needed:
        signals |= {"gramian": scaled[0], "row_scale": scaled[1]}
    if "gramian_diagonal" in needed:
        signals |= {"gramian_diagonal": squares, "row_scale": scaled[1]}
    if "validation_gradients" in needed:
        signals["validation_gradients"] = _validation_gradients(
            model, method, state, inputs, shared
        )

    weights = None
    if isinstance(method.rule, Weighting):
        weights, optimizer = weigh(method.rule, objectives, state.optimizer, mask=mask, **signals)
        direction = combine(weights, shared)
        if weighted_heads:
            heads = _weigh_heads(model, method, weights, mask, heads)
    else:
        direction, rule = method.rule.update(
            shared,
            state.optimizer.weighting,
            params["shared"],
            losses=objectives,
            mask=mask,
            **_bilevel_keywords(model, method, state, inputs),
            **signals,
        )
        optimizer = state.optimizer._replace(weighting=rule)
    omega, slope = jax.value_and_grad(lambda p: penalty(config.regularizer, p))(params)
    whole = {"shared": direction, "heads": {**params["heads"], **heads}}
    whole = jax.tree.map(jnp.add, whole, slope)
    return Direction(whole, found.losses, weights, omega, not_finite, optimizer)


def _times(importance: jax.Array, found: TaskGradients) -> tuple[jax.Array, Any, dict[str, Any]]:
    shared = jax.tree.map(
        lambda leaf: leaf * importance.astype(leaf.dtype).reshape((-1,) + (1,) * (leaf.ndim - 1)),
        found.shared,
    )
    heads = {
        name: jax.tree.map(lambda leaf, a=a: leaf * a.astype(leaf.dtype), grads)
        for a, (name, grads) in zip(importance, found.heads.items(), strict=True)
    }
    return importance * found.losses, shared, heads


def _where_rows(keep: jax.Array, leaf: jax.Array) -> jax.Array:
    return jnp.where(keep.reshape((-1,) + (1,) * (leaf.ndim - 1)), leaf, 0)


def _weigh_heads(
    model: Model, method: Method, weights: jax.Array, mask: jax.Array, heads: dict[str, Any]
) -> dict[str, Any]:
    if method.requires & GRADIENT_SIGNALS:
        total = jnp.sum(jnp.abs(weights))
        weights = weights * jnp.sum(mask) / jnp.where(total > 0, total, 1)
    return {
        task.name: jax.tree.map(lambda leaf, w=w: leaf * w.astype(leaf.dtype), heads[task.name])
        for w, task in zip(weights, model.tasks, strict=True)
    }


def _loss_signals(
    model: Model, method: Method, state: Any, inputs: StepInputs
) -> dict[str, jax.Array]:
    signals = {}
    needed = method.requires
    if "losses_after" in needed:
        signals["losses_after"] = state.memory.losses_after
    if "validation_losses" in needed:
        found = task_losses(model, state.params, inputs.extra.validation, None)
        signals["validation_losses"] = jax.lax.stop_gradient(inputs.importance * found)
    return signals


def _validation_gradients(
    model: Model, method: Method, state: Any, inputs: StepInputs, shared: Any
) -> jax.Array:
    # One step of gradient descent with the weights at hand, and the validation gradients there.
    inner = combine(state.memory.weights, shared)
    params = {**state.params, "shared": _descended(state.params["shared"], inner, method.inner_lr)}
    found = task_gradients(model, params, inputs.extra.validation, None)
    _, validation, _ = _times(inputs.importance, found)
    return cross_gramian(validation, shared)


def _bilevel_keywords(
    model: Model, method: Method, state: Any, inputs: StepInputs
) -> dict[str, Any]:
    """What an aggregator reads of the validation batch, and of inner steps on training data."""
    keywords: dict[str, Any] = {}
    if "validation_grads" in method.requires:
        found = task_gradients(model, state.params, inputs.extra.validation, None)
        keywords["validation_grads"] = _times(inputs.importance, found)[1]
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

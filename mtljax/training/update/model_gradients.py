"""The losses of a step and their gradients, by the gradient engine."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from mtljax import gradients
from mtljax.gradients import LaggedGradients, RepresentationGradients, TaskGradients
from mtljax.parallel import Split, identity_with_psum_gradient, psum_with_local_gradient
from mtljax.training.model import Model
from mtljax.training.objective import Params, StepBatch
from mtljax.training.update import gradient_problem


def task_losses(
    model: Model,
    params: Params,
    batch: StepBatch,
    key: jax.Array | None,
    shares: jax.Array | None = None,
) -> jax.Array:
    """The training loss of every task; tasks of one input group share one pass of the encoder.

    Args:
      model: the model.
      params: its parameters.
      batch: a batch for every input group.
      key: of the dropout and of the sampled softmax; None for neither.
      shares: ``[T]``; if given, the loss of a task reaches the shared parameters times its entry,
        in the backward pass only, and its head as it is.

    Returns:
      ``[T]`` float32, the weighted mean over each task's targets, 0 for one that has none.
    """
    axes, summed = model.split
    if axes and summed:
        # Once for all groups: added up one by one, their gradients would be sent one by one.
        params = identity_with_psum_gradient(params, axes)
        model = dataclasses.replace(model, split=Split(axes, summed=False))
    heads = gradient_problem.heads(model)
    if model.placement is not None:
        # Brought together before they are used, where devices keep a part each.
        whole = NamedSharding(model.placement.mesh, PartitionSpec())
        params = jax.lax.with_sharding_constraint(params, whole)
    if shares is not None:
        heads = {
            name: _with_share(head, share)
            for (name, head), share in zip(heads.items(), shares, strict=True)
        }
    found = gradients.task_losses(
        gradient_problem.encoders(model),
        heads,
        params["shared"],
        params["heads"],
        gradient_problem.examples(model, batch),
        key=key,
    )
    return psum_with_local_gradient(found, model.split.axes)


def task_gradients(
    model: Model, params: Params, batch: StepBatch, key: jax.Array | None, strategy: str = "auto"
) -> TaskGradients:
    """The gradients of `task_losses`: see `mtljax.gradients.task_gradients`."""
    found = gradients.task_gradients(*_arguments(model, params, batch), key=key, strategy=strategy)
    return found._replace(losses=psum_with_local_gradient(found.losses, model.split.axes))


def lagged_gradients(
    model: Model,
    params: Params,
    batch: StepBatch,
    key: jax.Array | None,
    weights: jax.Array,
    sketch: int | None,
) -> LaggedGradients:
    """The gradients of `task_losses`, combined: see `mtljax.gradients.lagged_gradients`."""
    encode, heads, shared, head_params, examples = _arguments(model, params, batch)
    found = gradients.lagged_gradients(
        encode, heads, shared, head_params, examples, weights, key=key, sketch=sketch
    )
    return found._replace(losses=psum_with_local_gradient(found.losses, model.split.axes))


def representation_gradients(
    model: Model, params: Params, batch: StepBatch, key: jax.Array | None
) -> RepresentationGradients:
    """Gradients with respect to the features of the only input group of a model."""
    _, heads, shared, head_params, examples = _arguments(model, params, batch)
    (encode,) = gradient_problem.encoders(model).values()
    found = gradients.representation_gradients(
        encode, heads, shared, head_params, examples, key=key
    )
    axes = model.split.axes
    if not axes:
        return found
    # The gradient of the word table is of all rows and has a part on each device; scaled by the
    # root of their number it is counted once in the Gramian, and once on the way back.
    scale = jax.lax.psum(1, axes) ** -0.5
    *of_rows, table = found.features
    table = jax.lax.psum(table, axes) * scale

    def pull_back(slope: Any) -> Any:
        return found.pull_back((*slope[:-1], slope[-1] * scale))

    return RepresentationGradients(
        psum_with_local_gradient(found.losses, axes), (*of_rows, table), found.heads, pull_back
    )


def _arguments(model: Model, params: Params, batch: StepBatch) -> tuple[Any, ...]:
    return (
        gradient_problem.encoders(model),
        gradient_problem.heads(model),
        params["shared"],
        params["heads"],
        gradient_problem.examples(model, batch),
    )


@jax.custom_vjp
def _scaled_slope(leaf: jax.Array, share: jax.Array) -> jax.Array:
    del share
    return leaf


def _forward(leaf: jax.Array, share: jax.Array) -> tuple[jax.Array, jax.Array]:
    return leaf, share


def _backward(share: jax.Array, slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    return slope * share.astype(slope.dtype), jnp.zeros_like(share)


_scaled_slope.defvjp(_forward, _backward)


def _with_share(head: Any, share: jax.Array) -> Any:
    def scaled(leaf: jax.Array) -> jax.Array:
        return _scaled_slope(leaf, share) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    def of_share(params, features, *rest):
        return head(params, jax.tree.map(scaled, features), *rest)

    return of_share

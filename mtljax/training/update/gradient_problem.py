"""A model as the gradient engine sees it: an encoder a group, a head a task, examples a group."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax

from mtljax import losses
from mtljax.gradients import Examples, Unbatched
from mtljax.modules import Readout, encode, predict
from mtljax.parallel import fold_axis_index, identity_with_psum_gradient, share_of_mean, together
from mtljax.tasks import Task
from mtljax.training.model import Model
from mtljax.training.objective import StepBatch, element_losses, readout_loss

_TARGETS = ("targets", "weights")


def encoders(model: Model) -> dict[str, Callable[..., Any]]:
    """By input group ``(shared, inputs[, key]) -> Features``, with dropout if there is a key.

    Groups whose positions see the same of each other have one function.
    """
    of_kind: dict[str, Callable[..., Any]] = {}
    found = {}
    for group in model.layout.groups:
        attention = model.network.attention[group.name]
        of_kind.setdefault(attention, functools.partial(_encode, model, group.name))
        found[group.name] = of_kind[attention]
    return found


def heads(model: Model) -> dict[str, Callable[..., jax.Array]]:
    """By task ``(params, features, (targets, weights)[, key]) -> loss``, a weighted mean.

    Where rows are split, a device's part of it; gradients are those of the whole.
    """
    return {task.name: functools.partial(_loss, model, task) for task in model.tasks}


def examples(model: Model, batch: StepBatch) -> dict[str, Examples]:
    """The batch of every input group."""
    found = {}
    for group in model.layout.groups:
        rows = batch[group.name]
        inputs = {name: value for name, value in rows.items() if name not in _TARGETS}
        targets = {task.name: tuple(rows[n][task.name] for n in _TARGETS) for task in group.tasks}
        if axes := model.split.axes:
            # Here, not in the heads: devices that run different heads could not add up in them.
            targets = {
                name: (*wanted, share_of_mean(wanted[1], axes)) for name, wanted in targets.items()
            }
        found[group.name] = Examples(inputs, targets)
    return found


def _encode(
    model: Model,
    group: str,
    shared: Any,
    inputs: Mapping[str, Any],
    key: jax.Array | None = None,
) -> Any:
    axes, summed = model.split
    shared = together(identity_with_psum_gradient(shared, axes if summed else ()), model.residence)
    features = encode(model.network, shared, group, inputs, fold_axis_index(key, axes))
    return features._replace(table=Unbatched(features.table))


def _loss(
    model: Model,
    task: Task,
    head: Any,
    features: Any,
    wanted: tuple[jax.Array, ...],
    key: jax.Array | None = None,
) -> jax.Array:
    targets, weights, *share = wanted
    axes, summed = model.split
    head = identity_with_psum_gradient(head, axes if summed else ())
    head_key = loss_key = None
    if key is not None:
        # What is drawn for all rows, the negatives of a softmax, is the same on all devices.
        head_key, loss_key = jax.random.split(key)
        head_key = fold_axis_index(head_key, axes)
    features = features._replace(table=features.table.value)
    count = model.layout.shapes[model.layout.group_of(task.name).name].max_segments
    predictions = predict(model.network, head, task.name, features, count, head_key)
    if isinstance(predictions, Readout):
        values = readout_loss(model, task, predictions, targets, loss_key)
    else:
        weighed = model.layout.outputs[task.name].class_weights
        values = element_losses(task, predictions, targets, weighed)
    mean = losses.weighted_mean(values, weights)
    return mean * share[0] if share else mean

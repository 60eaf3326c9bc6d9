"""The functions of a model that `mtljax.gradients` takes: encoders, heads and examples."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtljax import losses
from mtljax.gradients import DrawsByRow, Examples, Unbatched
from mtljax.modules import Readout, encode, encode_together, predict
from mtljax.parallel.fsdp_gather import gather_for_use
from mtljax.parallel.split import (
    first_row,
    identity_with_psum_gradient,
    share_of_mean,
)
from mtljax.tasks import Task
from mtljax.training.model import Model
from mtljax.training.objective import StepBatch, element_losses, readout_loss
from mtljax.training.objectives.device_layout import DeviceLayout

_TARGETS = ("targets", "weights")


def encoders(model: Model, layout: DeviceLayout) -> dict[str, Callable[..., Any]]:
    """The encoders of a model, with dropout if they are called with a key.

    Groups under the same attention mask have one function, so that they can be traced as one.

    Args:
      model: the model.
      layout: how the devices share a step.

    Returns:
      By input group, ``(shared, inputs[, key]) -> Features``.
    """
    by_attention: dict[str, Callable[..., Any]] = {}
    functions = {}
    for group in model.layout.groups:
        attention = model.network.attention[group.name]
        encoder = DrawsByRow(functools.partial(_encode, model, layout, group.name))
        functions[group.name] = by_attention.setdefault(attention, encoder)
    return functions


def encoder_of_all(model: Model, layout: DeviceLayout) -> Callable[..., dict[str, Any]]:
    """The encoder of a model for the rows of all input groups in one pass.

    Args:
      model: the model.
      layout: how the devices share a step.

    Returns:
      ``(shared, {group: inputs}[, key]) -> {group: Features}``, those that `encoders` return.
    """
    return functools.partial(_encode_together, model, layout)


def heads(model: Model, layout: DeviceLayout) -> dict[str, Callable[..., jax.Array]]:
    """The heads of a model with their losses, weighted means over the targets of a batch.

    Where rows are split, a loss is a device's share of that mean, and gradients are those of the
    sum over devices.

    Args:
      model: the model.
      layout: how the devices share a step.

    Returns:
      By task, ``(params, features, (targets, weights)[, key]) -> loss``, a scalar.
    """
    return {task.name: functools.partial(_loss, model, layout, task) for task in model.tasks}


def examples(model: Model, layout: DeviceLayout, batch: StepBatch) -> dict[str, Examples]:
    """The batch of every input group, in the form that `mtljax.gradients` takes.

    Args:
      model: the model.
      layout: how the devices share a step.
      batch: the batch of a step: by input group, a dictionary of arrays ``[R, ...]``.

    Returns:
      By input group, inputs and ``(targets, weights)`` by task; where rows are split, targets have
      a third entry, the device's share of the mean.
    """
    by_group, groups = {}, model.layout.groups
    for number, group in enumerate(groups):
        rows = batch[group.name]
        inputs = {name: value for name, value in rows.items() if name not in _TARGETS}
        # What a row draws at random follows from its number: no two rows of a step have the same,
        # and it does not depend on how many rows the other groups have, nor on the devices.
        count = inputs["tokens"].shape[0]
        first = first_row(count, layout.split.axes)
        inputs["rows"] = (first + jnp.arange(count)) * len(groups) + number
        targets = {task.name: tuple(rows[n][task.name] for n in _TARGETS) for task in group.tasks}
        if axes := layout.split.axes:
            # Not in the heads: devices that run different heads cannot all take part in their psum.
            targets = {
                name: (*arrays, share_of_mean(arrays[1], axes)) for name, arrays in targets.items()
            }
        by_group[group.name] = Examples(inputs, targets)
    return by_group


def _encode(
    model: Model,
    layout: DeviceLayout,
    group: str,
    shared: Any,
    inputs: Mapping[str, Any],
    key: jax.Array | None = None,
) -> Any:
    features = encode(model.network, _for_use(layout, shared), group, inputs, key)
    return features._replace(table=Unbatched(features.table))


def _encode_together(
    model: Model,
    layout: DeviceLayout,
    shared: Any,
    inputs: Mapping[str, Any],
    key: jax.Array | None = None,
) -> dict[str, Any]:
    features = encode_together(model.network, _for_use(layout, shared), inputs, key)
    table = Unbatched(next(iter(features.values())).table)
    return {name: of_group._replace(table=table) for name, of_group in features.items()}


def _for_use(layout: DeviceLayout, shared: Any) -> Any:
    """Shared parameters as rows meet them, whose gradients are summed over the devices."""
    axes, summed = layout.split
    summed_over = axes if summed else ()
    return gather_for_use(identity_with_psum_gradient(shared, summed_over), layout.fsdp)


def _loss(
    model: Model,
    layout: DeviceLayout,
    task: Task,
    head: Any,
    features: Any,
    targets_and_weights: tuple[jax.Array, ...],
    key: jax.Array | None = None,
) -> jax.Array:
    targets, weights, *share = targets_and_weights
    axes, summed = layout.split
    head = identity_with_psum_gradient(head, axes if summed else ())
    head_key = loss_key = None
    if key is not None:
        # What is drawn for all rows, the negatives of a softmax, is the same on all devices, and
        # dropout follows from the numbers of the rows.
        head_key, loss_key = jax.random.split(key)
    features = features._replace(table=features.table.value)
    count = model.layout.shapes[model.layout.group_of(task.name).name].max_segments
    predictions = predict(model.network, head, task.name, features, count, head_key)
    if isinstance(predictions, Readout):
        values = readout_loss(model, task, predictions, targets, loss_key)
    else:
        class_weights = model.layout.outputs[task.name].class_weights
        values = element_losses(task, predictions, targets, class_weights)
    mean = losses.weighted_mean(values, weights)
    return mean * share[0] if share else mean

"""The functions of a model that `mtljax.gradients` takes: encoders, heads and examples."""

import functools
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax import losses
from mtljax.gradients import DrawsByRow, Examples, Unbatched
from mtljax.kinds import KINDS
from mtljax.modules import Readout, encode, encode_together, predict, with_private
from mtljax.modules.network import group_heads
from mtljax.modules.structures import has_private, rows_loss, structure_of
from mtljax.parallel.fsdp_gather import gather_for_use
from mtljax.parallel.split import (
    first_row,
    identity_with_psum_gradient,
    share_of_mean,
)
from mtljax.tasks import Task, loss_name
from mtljax.training.model import Model
from mtljax.training.objective import StepBatch, element_losses, readout_loss
from mtljax.training.objectives.alike_rows import Size, alike_sizes, pad_to
from mtljax.training.objectives.device_layout import DeviceLayout

_TARGETS = ("targets", "weights")


class HeadTargets(NamedTuple):
    """What the head of a task reads besides the features.

    Attributes:
      targets: ``[R, N]`` or ``[R, S]``, for sets of classes ``[R, N, classes]``.
      weights: of the targets, ``[R, N]`` or ``[R, S]``.
      class_weights: of the task's classes, ``[classes]``; None where all weigh 1.
      share: the device's share of the mean over all rows, a scalar; None where it has all rows.
    """

    targets: jax.Array
    weights: jax.Array
    class_weights: jax.Array | None = None
    share: jax.Array | None = None


def encoders(model: Model, layout: DeviceLayout) -> dict[str, Callable[..., Any]]:
    """The encoders of a model, with dropout if they are called with a key.

    Groups under the same attention mask have one function, so that they can be traced as one, if
    their tasks have the same shared heads or none.

    Args:
      model: the model.
      layout: how the devices share a step.

    Returns:
      By input group, ``(shared, inputs[, key]) -> Features``; with private parameters ``(shared,
      private, inputs[, key])``.
    """
    by_kind: dict[Hashable, Callable[..., Any]] = {}
    functions = {}
    for group in model.layout.groups:
        # All that `_encode` reads of a group.
        kind = model.network.attention[group.name], group_heads(model.network, group.name)
        encode_rows = _encode_private if has_private(model.network.sharing) else _encode
        encoder = DrawsByRow(functools.partial(encode_rows, model, layout, group.name))
        functions[group.name] = by_kind.setdefault(kind, encoder)
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


def heads(
    model: Model, layout: DeviceLayout, *, alike: bool = False
) -> dict[str, Callable[..., jax.Array]]:
    """The heads of a model with their losses, weighted means over the targets of a batch.

    Where rows are split, a loss is a device's share of that mean, and gradients are those of the
    sum over devices.

    Args:
      model: the model.
      layout: how the devices share a step.
      alike: whether tasks whose losses are the same function of parameters, features and targets
        have one function, so that they can be traced as one.

    Returns:
      By task, ``(params, features, targets[, key]) -> loss``, of `HeadTargets` to a scalar.
    """
    functions: dict[Hashable, Callable[..., jax.Array]] = {}
    return {
        task.name: functions.setdefault(
            _head_key(model, task) if alike else task.name,
            functools.partial(_loss, model, layout, task),
        )
        for task in model.tasks
    }


def _head_key(model: Model, task: Task) -> Hashable:
    """All that `_loss` reads of a task, but for what is in its targets."""
    spec, proposal = model.network.specs[task.name], model.proposals.get(task.name)
    ids, output = spec.output_ids, structure_of(model.network.sharing).output
    return (
        task.name if output is not None and output.reads_task else None,
        model.network.heads[task.name],
        (spec.shared, spec.own),
        task.kind,
        loss_name(task),
        task.label_smoothing,
        bool(model.layout.outputs[task.name].class_weights),
        None if ids is None else ids.tobytes(),
        # A distribution is of one task.
        None if proposal is None else task.name,
    )


def examples(
    model: Model, layout: DeviceLayout, batch: StepBatch, *, alike: bool = False
) -> dict[str, Examples]:
    """The batch of every input group, in the form that `mtljax.gradients` takes.

    Args:
      model: the model.
      layout: how the devices share a step.
      batch: the batch of a step: by input group, a dictionary of arrays ``[R, ...]``.
      alike: whether groups that differ little in rows and texts are padded to one size, so that
        they can be traced as one; see `alike_sizes`. Padding has segment 0 and weight 0.

    Returns:
      By input group, its inputs, and `HeadTargets` by task.
    """
    sizes = {name: _size(model, name, rows) for name, rows in batch.items()}
    if alike:
        kinds = {name: _kind_of_group(model, name, rows) for name, rows in batch.items()}
        sizes = alike_sizes(kinds, sizes)
    by_group, groups, axes = {}, model.layout.groups, layout.split.axes
    for number, group in enumerate(groups):
        rows, size = batch[group.name], sizes[group.name]
        inputs = {name: value for name, value in rows.items() if name not in _TARGETS}
        # What a row draws at random follows from its number: no two rows of a step have the same,
        # and it does not depend on how many rows the other groups have, nor on the devices.
        count = inputs["tokens"].shape[0]
        inputs["rows"] = (first_row(count, axes) + jnp.arange(count)) * len(groups) + number
        targets = {}
        for task in group.tasks:
            per_token = KINDS[task.kind].per_token
            shape = (size.rows,) if per_token else (size.rows, size.texts)
            values, weights = (rows[name][task.name] for name in _TARGETS)
            class_weights = model.layout.outputs[task.name].class_weights
            # Not in the heads: devices that run different heads cannot all take part in its psum.
            targets[task.name] = HeadTargets(
                pad_to(values, shape),
                pad_to(weights, shape),
                jnp.asarray(class_weights, jnp.float32) if class_weights else None,
                share_of_mean(weights, axes) if axes else None,
            )
        by_group[group.name] = Examples(pad_to(inputs, (size.rows,)), targets)
    return by_group


def _size(model: Model, name: str, rows: Mapping[str, Any]) -> Size:
    texts = [
        rows["weights"][task.name].shape[1]
        for task in model.layout.group(name).tasks
        if not KINDS[task.kind].per_token
    ]
    return Size(rows["tokens"].shape[0], max(texts, default=0))


def _kind_of_group(model: Model, name: str, rows: Mapping[str, Any]) -> Hashable:
    """What groups that are traced as one have in common; None for groups of several tasks."""
    task, *others = model.layout.group(name).tasks
    if others:
        return None
    # Apart from what `Size` has: the rows, and the texts where there are targets of these.
    leading = 1 if KINDS[task.kind].per_token else 2
    inputs = {name: value.shape[1:] for name, value in rows.items() if name not in _TARGETS}
    targets = rows["targets"][task.name].shape[leading:]
    attention, key = model.network.attention[name], _head_key(model, task)
    return (attention, key, targets, *sorted(inputs.items()))


def _encode(
    model: Model,
    layout: DeviceLayout,
    group: str,
    shared: Any,
    inputs: Mapping[str, Any],
    key: jax.Array | None = None,
) -> Any:
    features = encode(model.network, _for_use(layout, shared), group, inputs, key)
    return _marked(features, Unbatched(features.table))


def _encode_private(
    model: Model, layout: DeviceLayout, group: str, shared: Any, private: Any, *rest: Any
) -> Any:
    axes, summed = layout.split
    private = identity_with_psum_gradient(private, axes if summed else ())
    features = encode(model.network, with_private(_for_use(layout, shared), private), group, *rest)
    return _marked(features, Unbatched(features.table))


def _encode_together(
    model: Model,
    layout: DeviceLayout,
    shared: Any,
    inputs: Mapping[str, Any],
    key: jax.Array | None = None,
) -> dict[str, Any]:
    features = encode_together(model.network, _for_use(layout, shared), inputs, key)
    table = Unbatched(next(iter(features.values())).table)
    return {name: _marked(of_group, table) for name, of_group in features.items()}


def _marked(features: Any, table: Unbatched) -> Any:
    """Features of which the engine knows what has no axis of rows; see `_loss`."""
    heads = None if features.heads is None else Unbatched(features.heads)
    return features._replace(table=table, heads=heads)


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
    of_task: HeadTargets,
    key: jax.Array | None = None,
) -> jax.Array:
    targets, weights, class_weights, share = of_task
    axes, summed = layout.split
    head = identity_with_psum_gradient(head, axes if summed else ())
    head_key = loss_key = None
    if key is not None:
        # What is drawn for all rows, the negatives of a softmax, is the same on all devices, and
        # dropout follows from the numbers of the rows.
        head_key, loss_key = jax.random.split(key)
    together = None if features.heads is None else features.heads.value
    features = features._replace(table=features.table.value, heads=together)
    predictions = predict(model.network, head, task.name, features, targets.shape[1], head_key)
    if isinstance(predictions, Readout):
        values = readout_loss(model, task, predictions, targets, loss_key)
    else:
        values = element_losses(task, predictions, targets, class_weights, weights)
    mean = losses.weighted_mean(values, weights)
    names = [task.name for task in model.tasks]
    of_rows = rows_loss(model.network.sharing, features, names, task.name)
    if of_rows is not None:
        mean = mean + losses.weighted_mean(of_rows, jnp.sum(weights, 1))
    return mean if share is None else mean * share

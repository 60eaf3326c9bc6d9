"""The losses of a step: every task's predictions against its targets."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtljax import losses
from mtljax.modules import Readout, encode, predict
from mtljax.presets import RegularizerConfig
from mtljax.regularizers import group_lasso, l2, on
from mtljax.tasks import Task, loss_name
from mtljax.training.model import Model

Params = Mapping[str, Any]
StepBatch = Mapping[str, Mapping[str, Any]]


def task_losses(model: Model, params: Params, batch: StepBatch, key: jax.Array | None) -> jax.Array:
    """The training loss of every task, with dropout.

    Tasks of one input group share one pass of the encoder.

    Args:
      model: the model.
      params: its parameters.
      batch: a batch for every input group.
      key: of the dropout and of the sampled softmax; None for neither.

    Returns:
      ``[T]`` float32, the weighted mean over each task's targets, 0 for one that has none.
    """
    found = {}
    for number, group in enumerate(model.layout.groups):
        rows = batch[group.name]
        features = group_features(model, number, params["shared"], rows, key)
        for i, task in enumerate(group.tasks):
            head = params["heads"][task.name]
            found[task.name] = head_loss(model, number, i, head, features, rows, key)
    return jnp.stack([found[task.name] for task in model.tasks])


def group_features(
    model: Model, number: int, shared: Any, rows: Mapping[str, Any], key: jax.Array | None
) -> Any:
    """What the encoder makes of the batch of an input group, the `number`-th of the layout."""
    group = model.layout.groups[number]
    encode_key = None if key is None else _keys(model, number, key)[0]
    return encode(model.network, shared, group.name, rows, encode_key)


def head_loss(
    model: Model,
    number: int,
    place: int,
    head: Any,
    features: Any,
    rows: Mapping[str, Any],
    key: jax.Array | None,
) -> jax.Array:
    """The training loss of one task of an input group.

    Args:
      model: the model.
      number: of the group in the model's layout.
      place: of the task in the group.
      head: its parameters.
      features: of the group.
      rows: the group's batch.
      key: that of `task_losses`.

    Returns:
      A scalar float32.
    """
    group = model.layout.groups[number]
    task = group.tasks[place]
    head_key = loss_key = None
    if key is not None:
        head_key, loss_key = jax.random.split(_keys(model, number, key)[1 + place])
    count = model.layout.shapes[group.name].max_segments
    predictions = predict(model.network, head, task.name, features, count, head_key)
    targets, weights = rows["targets"][task.name], rows["weights"][task.name]
    if isinstance(predictions, Readout):
        values = _readout_loss(model, task, predictions, targets, loss_key)
    else:
        values = element_losses(task, predictions, targets)
    return losses.weighted_mean(values, weights)


def _keys(model: Model, number: int, key: jax.Array) -> jax.Array:
    count = 1 + len(model.layout.groups[number].tasks)
    return jax.random.split(jax.random.fold_in(key, number), count)


def present_tasks(model: Model, batch: StepBatch) -> jax.Array:
    """Which tasks have a target in this batch: ``[T]`` bool."""
    weights = {task: w for rows in batch.values() for task, w in rows["weights"].items()}
    return jnp.stack([jnp.any(weights[task.name] > 0) for task in model.tasks])


def element_losses(task: Task, predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """A task's loss for each of its targets, unreduced.

    Args:
      task: names the loss.
      predictions: ``[..., outputs]``.
      targets: ``[...]``.

    Returns:
      ``[...]`` float32.
    """
    name = loss_name(task)
    single = predictions.shape[-1] == 1
    if task.kind == "regression":
        function = {"squared": losses.squared, "absolute": losses.absolute, "huber": losses.huber}
        return function[name](predictions[..., 0], targets)
    if name == "softmax":
        return losses.softmax(predictions, targets, task.label_smoothing)
    if single:
        logit = predictions[..., 0]
        match name:
            case "sigmoid":
                return losses.sigmoid(logit, targets, task.label_smoothing)
            case "hinge":
                return losses.hinge(logit, targets)
            case _:
                return losses.squared(logit, 2.0 * targets - 1.0)
    wanted = jax.nn.one_hot(targets, predictions.shape[-1])
    match name:
        case "sigmoid":
            return losses.sigmoid(predictions, wanted, task.label_smoothing).sum(-1)
        case "hinge":
            return losses.multiclass_hinge(predictions, targets)
        case _:
            return losses.squared(predictions, 2.0 * wanted - 1.0).mean(-1)


def _readout_loss(
    model: Model, task: Task, readout: Readout, targets: jax.Array, key: jax.Array | None
) -> jax.Array:
    queries = readout.queries.reshape(-1, readout.queries.shape[-1])
    flat = targets.reshape(-1)
    proposal = model.proposals.get(task.name)
    if proposal is None or key is None:
        values = losses.linear_cross_entropy(queries, readout.table, readout.bias, flat)
    else:
        drawn, log_q = losses.draw_negatives(key, proposal, model.negatives)
        values = losses.sampled_softmax(queries, readout.table, readout.bias, flat, drawn, log_q)
    return values.reshape(targets.shape)


def penalty(config: RegularizerConfig, params: Params) -> jax.Array:
    """Omega(w) of a configuration: a scalar, 0 where no factor is set."""
    total = jnp.zeros((), jnp.float32)
    if config.l2:
        total = total + config.l2 * on(l2, config.l2_on)(params)
    if config.group_lasso:
        total = total + config.group_lasso * on(group_lasso, config.group_lasso_on)(params)
    return total

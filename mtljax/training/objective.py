"""The terms of the objective: each target's loss, and the penalty on the parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtljax import losses
from mtljax.kinds import KINDS, LossSettings
from mtljax.linear import correlations
from mtljax.modules import Readout, SharingConfig, TagScores
from mtljax.modules.structures import structure_of
from mtljax.presets import RegularizerConfig
from mtljax.regularizers import (
    group_lasso,
    l1,
    l2,
    learned_relation,
    mean_distance,
    on,
    task_covariance,
)
from mtljax.tasks import Task, loss_name
from mtljax.training.model import Model

Params = Mapping[str, Any]
StepBatch = Mapping[str, Mapping[str, Any]]


def element_losses(
    task: Task,
    predictions: jax.Array | TagScores,
    targets: jax.Array,
    class_weights: Sequence[float] | jax.Array | None = None,
    weights: jax.Array | None = None,
) -> jax.Array:
    """A task's loss for each of its targets, not reduced.

    Args:
      task: names the loss; no task that writes text.
      predictions: ``[..., outputs]``.
      targets: ``[...]``; sets of classes ``[..., outputs]`` of 0 and 1.
      class_weights: by which the loss of a target, or the term of each class in a set, is
        multiplied in training, for each class; None or empty for 1.
      weights: ``[...]`` of the targets, 0 where there is none; only read where tags are chosen text
        by text.

    Returns:
      ``[...]`` float32.
    """
    if isinstance(predictions, TagScores) and weights is not None:
        # What is not known of a text is summed over.
        targets = jnp.where(weights > 0, targets, -1)
    function = KINDS[task.kind].element_losses
    assert function is not None
    class_weights = () if class_weights is None else class_weights
    settings = LossSettings(loss_name(task), task.label_smoothing, class_weights)
    return function(predictions, targets, settings)


def readout_loss(
    model: Model, task: Task, readout: Readout, targets: jax.Array, key: jax.Array | None
) -> jax.Array:
    """The softmax loss over words for each target, with sampled negatives if there is a key.

    Args:
      model: names the distribution of the negatives.
      task: one that writes text.
      readout: queries ``[R, S, E]`` and the table and bias that make logits of them.
      targets: ``[R, S]``.
      key: of the negatives; None for the full softmax.

    Returns:
      ``[R, S]`` float32.
    """
    proposal = model.proposals.get(task.name)
    if proposal is None or key is None:
        return full_softmax_loss(model, readout, targets)
    queries = readout.queries.reshape(-1, readout.queries.shape[-1])
    flat = targets.reshape(-1)
    drawn, log_q = losses.draw_negatives(key, proposal, model.negatives)
    values = losses.sampled_softmax(queries, readout.table, readout.bias, flat, drawn, log_q)
    return values.reshape(targets.shape)


def full_softmax_loss(model: Model, readout: Readout, targets: jax.Array) -> jax.Array:
    """The softmax loss ``[R, S]`` float32 for each target, over all words."""

    def of_rows(queries: jax.Array, targets: jax.Array) -> jax.Array:
        return losses.linear_cross_entropy(queries, readout.table, readout.bias, targets)

    queries, flat = readout.queries.reshape(-1, readout.queries.shape[-1]), targets.reshape(-1)
    rows, count = model.network.encoder.rows, targets.shape[0]
    parts = 1 if rows is None else count // rows.shard_shape((count,))[0]
    if parts == 1:
        return of_rows(queries, flat).reshape(targets.shape)
    # Chunks of each device's own rows: chunks of all would have them go from device to device.
    queries, flat = queries.reshape(parts, -1, queries.shape[-1]), flat.reshape(parts, -1)
    return jax.vmap(of_rows)(queries, flat).reshape(targets.shape)


def has_penalty(config: RegularizerConfig, sharing: SharingConfig = SharingConfig()) -> bool:  # noqa: B008 - immutable
    """Whether a configuration has a penalty on the parameters."""
    own = structure_of(sharing).has_penalty(sharing)
    heads = config.heads_together or config.heads_relation
    return bool(config.l2 or config.l1 or config.group_lasso or heads or own)


def alike_heads(model: Model) -> list[list[str]]:
    """The tasks whose heads a penalty may draw together: of one kind, loss, classes and shape.

    Args:
      model: the model.

    Returns:
      The names of tasks that have heads of their own, in sets of two at least.
    """
    sets: dict[Any, list[str]] = {}
    for task in model.tasks:
        if model.network.specs[task.name].own and not KINDS[task.kind].writes:
            classes = model.layout.outputs[task.name].classes
            key = task.kind, loss_name(task), classes, model.network.heads[task.name]
            sets.setdefault(key, []).append(task.name)
    return [names for names in sets.values() if len(names) > 1]


def penalty(
    config: RegularizerConfig,
    params: Params,
    alike: Sequence[Sequence[str]] = (),
    sharing: SharingConfig = SharingConfig(),  # noqa: B008 - immutable
) -> jax.Array:
    """Omega(w) of a configuration: a scalar, 0 where no factor is set.

    Args:
      config: with the factors.
      params: the parameters.
      alike: of `alike_heads`, the tasks whose heads a penalty is over.
      sharing: the structure, which may have a penalty of its own.
    """
    value = _of_paths(config, params)
    structure = structure_of(sharing)
    if structure.penalty is not None and structure.has_penalty(sharing):
        value = value + structure.penalty(sharing, params)
    for names in alike:
        heads = [params["heads"][name] for name in names]
        if config.heads_together:
            value = value + config.heads_together * mean_distance(heads)
        if config.heads_relation:
            value = value + config.heads_relation * learned_relation(heads)
    return value


def _correlations_of(heads: Sequence[Any]) -> jax.Array:
    return correlations(task_covariance(heads))


def heads_correlation(
    model: Model, params: Params, where: jax.sharding.Sharding | None = None
) -> dict[str, Any]:
    """How the heads of tasks are related, as `RegularizerConfig.heads_relation` has learned it.

    Args:
      model: the model.
      params: its parameters.
      where: a sharding under which this process has all of an array, for parameters on several
        devices.

    Returns:
      ``tasks``, the T names of tasks that may be compared, and their ``correlation`` ``[T, T]``:
      numbers from -1 to 1, 0 between tasks of other kinds, losses or classes.
    """
    sets = alike_heads(model)
    names = [name for each in sets for name in each]
    correlation = np.zeros((len(names), len(names)))
    start = 0
    for each in sets:
        heads = [params["heads"][name] for name in each]
        end = start + len(each)
        found = jax.jit(_correlations_of, out_shardings=where)(heads)
        correlation[start:end, start:end] = np.asarray(found, np.float64)
        start = end
    return {"tasks": names, "correlation": np.round(correlation, 6).tolist()}


def _of_paths(config: RegularizerConfig, params: Params) -> jax.Array:
    sparse = jnp.zeros((), jnp.float32)
    if config.l1:
        sparse = sparse + config.l1 * on(l1, config.l1_on)(params)
    if config.group_lasso:
        sparse = sparse + config.group_lasso * on(group_lasso, config.group_lasso_on)(params)
    if config.proximal:
        # Reported, but minimized by the optimizer: see `proximal_step`.
        sparse = jax.lax.stop_gradient(sparse)
    if config.l2:
        return sparse + config.l2 * on(l2, config.l2_on)(params)
    return sparse

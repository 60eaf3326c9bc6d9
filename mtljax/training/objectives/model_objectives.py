"""A model as objectives of a train step: in one program, with split rows, or task-parallel."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from mtljax.gradients import (
    LaggedGradients,
    RepresentationGradients,
    TaskGradients,
    WeightedGradient,
)
from mtljax.modules.structures import has_private
from mtljax.parallel.split import (
    any_device,
    identity_with_psum_gradient,
    psum_with_local_gradient,
)
from mtljax.step import Objectives, from_encoder
from mtljax.step.gradient_layout import FullGradients
from mtljax.training.model import Model
from mtljax.training.objective import StepBatch
from mtljax.training.objectives import model_functions
from mtljax.training.objectives.device_layout import ONE_PROGRAM, DeviceLayout
from mtljax.training.objectives.task_parallel import sharded_task_gradients, task_parallel_layout

_OF_ROWS = 2
"""Floating point features that have an axis of rows, before those that have none."""


def model_objectives(model: Model, layout: DeviceLayout = ONE_PROGRAM) -> Objectives:
    """The losses of a model's tasks and their gradients, as the devices share them.

    Args:
      model: the model; the names of its tasks are those of the objectives.
      layout: how the devices share a step.

    Returns:
      Objectives for `mtljax.step.train_step`; their losses are weighted means over each task's
      targets, 0 for a task without targets.
    """
    if layout.split.axes:
        return _over_split_rows(model, layout)
    if layout.placement is not None:
        layout = layout._replace(passes="by_group")
    objectives = _of_one_program(model, layout)
    return objectives if layout.placement is None else _task_parallel(model, layout, objectives)


def present_tasks(model: Model, batch: StepBatch) -> jax.Array:
    """Which tasks have a target in these rows of a batch.

    Args:
      model: the model, with T tasks.
      batch: a batch, or the rows of it that a device has.

    Returns:
      ``[T]``, bool.
    """
    weights = {task: w for rows in batch.values() for task, w in rows["weights"].items()}
    return jnp.stack([jnp.any(weights[task.name] > 0) for task in model.tasks])


def _of_one_program(model: Model, layout: DeviceLayout) -> Objectives:
    # Rows that XLA divides among devices would move between them to make room for padding, and
    # where groups are stacked, XLA would have to find out that each device keeps its own.
    alike = layout.placement is None and model.network.encoder.rows is None
    private = has_private(model.network.sharing)
    return from_encoder(
        model_functions.encoders(model, layout),
        model_functions.heads(model, layout, alike=alike),
        keyed=True,
        encode_together=None if private else model_functions.encoder_of_all(model, layout),
        passes=layout.passes,
        present=functools.partial(present_tasks, model),
        examples=functools.partial(model_functions.examples, model, layout, alike=alike),
        examples_together=functools.partial(model_functions.examples, model, layout),
        private=private,
    )


def _over_split_rows(model: Model, layout: DeviceLayout, frozen: Any = None) -> Objectives:
    """Under `jax.shard_map` or `jax.pmap`: each device has its own rows and the full state.

    A device's loss is its share of the mean over all rows, see `mtljax.parallel.split`. With
    `frozen` parameters the objectives are of the others alone.
    """
    axes, summed = layout.split

    def of_rows(layout: DeviceLayout) -> Objectives:
        objectives = _of_one_program(model, layout)
        if frozen is None or objectives.with_frozen is None:
            return objectives
        return objectives.with_frozen(frozen)

    objectives = of_rows(layout)
    unsummed = layout._replace(split=layout.split._replace(summed=False))
    local = of_rows(unsummed) if summed else objectives

    def losses(
        params: Any, batch: Any, key: jax.Array | None, shares: jax.Array | None = None
    ) -> jax.Array:
        if summed:
            # One psum for all groups: summed group by group, gradients would be sent several times.
            params = identity_with_psum_gradient(params, axes)
        return psum_with_local_gradient(local.losses(params, batch, key, shares), axes)

    def task_gradients(*arguments: Any) -> TaskGradients:
        gradients = objectives.task_gradients(*arguments)
        return gradients._replace(losses=psum_with_local_gradient(gradients.losses, axes))

    def weighted_gradient(*arguments: Any) -> WeightedGradient:
        assert local.weighted_gradient is not None
        found = local.weighted_gradient(*arguments)
        # Summed once, after the last group.
        sums = jax.lax.psum((found.losses, found.shared, found.heads), axes)
        return WeightedGradient(sums[0], sums[1], sums[2], found.aux)

    def lagged_gradients(*arguments: Any) -> LaggedGradients:
        gradients = objectives.lagged_gradients(*arguments)
        return gradients._replace(losses=psum_with_local_gradient(gradients.losses, axes))

    def representation_gradients(*arguments: Any) -> RepresentationGradients:
        gradients = objectives.representation_gradients(*arguments)
        # The gradient of the word table sums over all rows, and every device has that sum. The
        # Gramian and the pull-back are summed over devices too: divided by the square root of their
        # number, it counts once in either.
        scale = jax.lax.psum(1, axes) ** -0.5
        # So is that of heads that tasks share.
        of_rows, whole = gradients.features[:_OF_ROWS], gradients.features[_OF_ROWS:]
        whole = tuple(jax.lax.psum(leaf, axes) * scale for leaf in whole)

        def pull_back(cotangent: Any) -> Any:
            scaled = [leaf * scale for leaf in cotangent[_OF_ROWS:]]
            return gradients.pull_back((*cotangent[:_OF_ROWS], *scaled))

        losses = psum_with_local_gradient(gradients.losses, axes)
        return RepresentationGradients(losses, (*of_rows, *whole), gradients.heads, pull_back)

    return objectives._replace(
        losses=losses,
        weighted_gradient=None if local.weighted_gradient is None else weighted_gradient,
        task_gradients=task_gradients,
        lagged_gradients=lagged_gradients,
        representation_gradients=representation_gradients,
        present=lambda batch: any_device(objectives.present(batch), axes),
        layout=FullGradients(axes),
        with_frozen=functools.partial(_over_split_rows, model, layout),
    )


def _task_parallel(model: Model, layout: DeviceLayout, objectives: Objectives) -> Objectives:
    """Groups of devices work on different tasks, then on shards of the gradients of all tasks."""
    placement = layout.placement
    assert placement is not None
    gradient_layout = task_parallel_layout(model, placement)
    replicated = NamedSharding(placement.mesh, PartitionSpec())

    def losses(
        params: Any, batch: Any, key: jax.Array | None, shares: jax.Array | None = None
    ) -> jax.Array:
        # All-gathered, where each device stores a shard.
        params = jax.lax.with_sharding_constraint(params, replicated)
        return objectives.losses(params, batch, key, shares)

    return objectives._replace(
        losses=losses,
        weighted_gradient=None,
        task_gradients=functools.partial(sharded_task_gradients, model, placement, gradient_layout),
        layout=gradient_layout,
        with_frozen=None,
    )

"""Per-task gradients with tasks on groups of devices, each device then keeping a part of all."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from mtljax.gradients import TaskGradients
from mtljax.gradients.task_parallel import task_parallel_gradients, task_parallel_order
from mtljax.parallel.placement import TaskPlacement
from mtljax.parallel.split import Split
from mtljax.parallel.task_exchange import exchange_gradients, exchanged_specs, gather_stored
from mtljax.step.gradient_layout import ShardedGradients
from mtljax.training.model import Model, initial_params
from mtljax.training.objective import StepBatch
from mtljax.training.objectives import model_functions
from mtljax.training.objectives.device_layout import DeviceLayout


def task_parallel_layout(model: Model, placement: TaskPlacement) -> ShardedGradients:
    """How the gradients of `sharded_task_gradients` lie."""
    shapes = jax.eval_shape(lambda: initial_params(model))["shared"]
    return ShardedGradients(placement.mesh, placement.axes, shapes)


def sharded_task_gradients(
    model: Model,
    placement: TaskPlacement,
    layout: ShardedGradients,
    params: Any,
    batch: StepBatch,
    key: jax.Array | None,
    strategy: str = "auto",
) -> TaskGradients:
    """Per-task gradients, each computed by the devices of its task.

    Args:
      model: the model.
      placement: which devices work on which tasks.
      layout: from `task_parallel_layout`, how the result lies.
      params: its parameters, those that are shared replicated or split.
      batch: with rows split over the axis ``data``, replicated over ``task``.
      key: random key of the step, or None.
      strategy: has no effect: each device computes what its groups need, one after the other.

    Returns:
      `TaskGradients`; leaves of `shared` lie as `layout` says.
    """
    del strategy
    task, data = placement.task_axis, placement.data_axis
    local = DeviceLayout(Split(() if data is None else (data,), summed=False))
    dimensions = layout.dimensions
    if placement.sharded:
        shared = gather_stored(params["shared"], dimensions, placement.mesh, placement.axes)
        params = {**params, "shared": shared}
    order = [one.name for one in model.tasks]

    def of_device(params: Any, batch: StepBatch, key: jax.Array | None) -> Any:
        heads = model_functions.heads(model, local)
        examples = model_functions.examples(model, local, batch)
        gradients = task_parallel_gradients(
            model_functions.encoders(model, local),
            heads,
            params["shared"],
            params["heads"],
            examples,
            placement.groups_by_index,
            "task",
            key=key,
        )
        # Losses and heads' gradients are small: every device gets all of them.
        losses, head_gradients = gradients.losses, gradients.heads
        if data is not None:
            losses = jax.lax.psum(losses, data)
        if task is not None:
            losses = jax.lax.all_gather(losses, task, tiled=True)
        if placement.axes:
            head_gradients = jax.lax.psum(head_gradients, placement.axes)
        # From all parameters of some tasks to some parameters of all tasks.
        shared = exchange_gradients(gradients.shared, dimensions, task=task, data=data)
        computed_order = task_parallel_order(examples, heads, placement.groups_by_index)
        if computed_order != order:
            places = jnp.array([computed_order.index(name) for name in order])
            losses, shared = jax.tree.map(lambda leaf: leaf[places], (losses, shared))
        return TaskGradients(losses, shared, head_gradients)

    gradients = jax.shard_map(
        of_device,
        mesh=placement.mesh,
        in_specs=(P(), P(data), P()),
        out_specs=TaskGradients(P(), exchanged_specs(dimensions, placement.axes, lead=1), P()),  # pyright: ignore[reportArgumentType]
        check_vma=False,
    )(params, batch, key)
    # In the order of the tasks again, which a dictionary loses on its way through JAX.
    return gradients._replace(heads={name: gradients.heads[name] for name in order})

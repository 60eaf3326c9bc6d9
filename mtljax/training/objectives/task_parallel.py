"""Task-parallel gradients of a model: from task-sharded to parameter-sharded gradients."""

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
    """How the gradients of `sharded_task_gradients` are sharded.

    Args:
      model: the model, whose shared parameters are split.
      placement: which devices work on which tasks.

    Returns:
      Their layout: each device has a shard of every parameter, for all tasks.
    """
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
    """Per-task gradients, each computed by the devices of its task, then exchanged.

    Args:
      model: the model, with T tasks.
      placement: which devices work on which tasks.
      layout: the sharding of the result, from `task_parallel_layout`.
      params: the parameters of the model; the shared ones are replicated, or sharded if
        ``placement.sharded``.
      batch: a batch with rows split over the axis ``data`` and replicated over ``task``.
      key: the random key of the step, or None.
      strategy: has no effect: each device computes the gradients of its groups one after the other.

    Returns:
      `TaskGradients` of all T tasks; leaves of `shared` are ``[T, *param]``, sharded as `layout`
      says.
    """
    del strategy
    task_axis, data_axis = placement.task_axis, placement.data_axis
    # Losses are sums over a device's own rows; their gradients are summed by the exchange.
    local = DeviceLayout(Split(() if data_axis is None else (data_axis,), summed=False))
    dimensions = layout.dimensions
    if placement.sharded:
        shared = gather_stored(params["shared"], dimensions, placement.mesh, placement.axes)
        params = {**params, "shared": shared}
    order = [task.name for task in model.tasks]

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
        if data_axis is not None:
            losses = jax.lax.psum(losses, data_axis)
        if task_axis is not None:
            losses = jax.lax.all_gather(losses, task_axis, tiled=True)
        if placement.axes:
            head_gradients = jax.lax.psum(head_gradients, placement.axes)
        # Reduce-scatter over `data`, all-to-all over `task`: from all parameters of this device's
        # tasks to a shard of the parameters for all tasks.
        shared = exchange_gradients(
            gradients.shared, dimensions, task=task_axis, data=data_axis, dtype=placement.dtype
        )
        computed_order = task_parallel_order(examples, heads, placement.groups_by_index)
        if computed_order != order:
            indices = jnp.array([computed_order.index(name) for name in order])
            losses, shared = jax.tree.map(lambda leaf: leaf[indices], (losses, shared))
        return TaskGradients(losses, shared, head_gradients)

    gradients = jax.shard_map(
        of_device,
        mesh=placement.mesh,
        in_specs=(P(), P(data_axis), P()),
        out_specs=TaskGradients(P(), exchanged_specs(dimensions, placement.axes, lead=1), P()),  # pyright: ignore[reportArgumentType]
        check_vma=False,
    )(params, batch, key)
    # JAX sorts dictionaries: this restores the order of the tasks.
    return gradients._replace(heads={name: gradients.heads[name] for name in order})

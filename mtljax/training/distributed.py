"""A train step on the devices of a configuration: their mesh, shardings and the compiled step."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from mtljax.errors import UserError
from mtljax.modules import logical_axes
from mtljax.parallel import (
    ParameterSpecs,
    compiled_step,
    follow,
    make_mesh,
    parameter_specs,
    parse_rule,
    shard_rows,
    shardings,
    split_dimensions,
    split_of,
)
from mtljax.parallel.fsdp_gather import fsdp_shardings
from mtljax.parallel.mesh import axes_size, row_axes
from mtljax.parallel.placement import TaskPlacement, choose_placement, divide_groups
from mtljax.parallel.processes import RowShare, global_rows, process_share
from mtljax.parallel.task_exchange import gather_stored, stored_specs
from mtljax.presets import Config, ParallelConfig
from mtljax.step.method import Method, Rule, as_method, reads_gradients
from mtljax.step.state import StepMetrics, TrainState
from mtljax.step.strategy import APPROXIMATE
from mtljax.training.model import Model
from mtljax.training.objective import StepBatch
from mtljax.training.objectives.device_layout import DeviceLayout
from mtljax.training.step import make_step


class Distributed(NamedTuple):
    """A train step on its devices.

    Attributes:
      mesh: of the devices; None where one device does all.
      model: for evaluation; its encoder keeps the rows of activations where `place` puts those of
        a batch.
      state: shardings of the train state, a tree like it; None where one device does all.
      init: ``batch -> state``, jitted, each device drawing its part.
      step: ``(state, batch, extra) -> (state, metrics)``, compiled, the state donated.
      place: puts batches on the devices; with several processes, batches of all rows that every
        process has.
      row_parts: number of devices that the rows of a batch are divided among.
      about: in one line, how the devices share the step; empty where one does all.
      share: the rows that this process has of a batch.
      place_own: puts batches of these rows on this process's devices, as parts of global arrays.
      replicated: a sharding under which every process has the whole array; None where one device
        does all.
      task_parallel: whether groups of devices work on different tasks.
    """

    mesh: Mesh | None
    model: Model
    state: TrainState | None
    init: Callable[[StepBatch], TrainState]
    step: Callable[..., tuple[TrainState, StepMetrics]]
    place: Callable[[Any], Any]
    row_parts: int
    about: str
    share: RowShare = RowShare()
    place_own: Callable[[Any], Any] = jax.device_put
    replicated: NamedSharding | None = None
    task_parallel: bool = False

    def evaluated(self, params: Any) -> Any:
        """Parameters for evaluation, sharded like those that are trained."""
        return params if self.state is None else jax.device_put(params, self.state.params)


def distribute(
    config: Config,
    model: Model,
    method: Method | Rule,
    optimizer: optax.GradientTransformation,
    batch: StepBatch,
    devices: Sequence[Any] | None = None,
) -> Distributed:
    """Compiles nothing yet: `init` and `step` can be lowered, or called.

    Args:
      config: says how the devices share the step.
      model: that of `build_model`.
      method: see `make_step`.
      optimizer: see `make_step`.
      batch: of a step, or its shapes.
      devices: by default all there are; of a topology, to compile for what is not at hand.

    Raises:
      UserError: a mesh, rules, or a batch that do not fit.
    """
    parallel, method = config.parallel, as_method(method)
    on_one = parallel.task == parallel.data == parallel.model == 1
    if devices is None and on_one and jax.process_count() > 1:
        raise UserError(
            f"parallel: one device was asked for, and {jax.process_count()} processes have "
            f"{jax.device_count()}; --parallel.data 0 divides the rows among all"
        )
    if devices is None and on_one:
        return _on_one_device(config, model, method, optimizer)
    try:
        mesh = make_mesh(parallel.task, parallel.data, parallel.model, devices)
        return _on_mesh(config, model, method, optimizer, batch, mesh)
    except ValueError as error:
        raise UserError(f"parallel: {error}") from None


def _on_one_device(
    config: Config, model: Model, method: Method, optimizer: optax.GradientTransformation
) -> Distributed:
    step = make_step(model, method, optimizer, config)
    # Bound to its device, as a state from a checkpoint is: both have the same compiled step.
    (device,) = jnp.zeros(()).devices()
    return Distributed(
        mesh=None,
        model=model,
        state=None,
        init=jax.jit(step.init, out_shardings=SingleDeviceSharding(device)),
        step=jax.jit(step.update, donate_argnums=0),
        place=jax.device_put,
        row_parts=1,
        about="",
    )


def _on_mesh(
    config: Config,
    model: Model,
    method: Method,
    optimizer: optax.GradientTransformation,
    batch: StepBatch,
    mesh: Mesh,
) -> Distributed:
    parallel, several = config.parallel, jax.process_count() > 1
    if several and parallel.strategy == "pmap":
        raise ValueError("strategy 'pmap': works in one process only, 'shard_map' in several")

    # Where tasks are on groups of devices, and from that where everything lies between steps.
    init = make_step(model, method, optimizer, config).init
    shapes = jax.eval_shape(init, batch)
    placement, reason = _placement(config, model, method, mesh, batch, shapes.params["shared"])
    axes = logical_axes(model.network, shapes.params)
    (specs, uncovered), moments = _specs(parallel, mesh, shapes.params, axes, placement)
    state = follow(shapes, shapes.params, moments)._replace(params=specs)
    state = shardings(state, mesh)
    rows = P(row_axes(mesh) if placement is None else placement.data_axis)

    # Each row's activations stay on its device where XLA places them.
    encoder = model.network.encoder.clone(rows=NamedSharding(mesh, rows))
    network = dataclasses.replace(model.network, encoder=encoder)
    model_by_rows = dataclasses.replace(model, network=network)
    layout = DeviceLayout(split_of(mesh, parallel.strategy), placement)
    step_model = model
    if parallel.strategy == "jit" and placement is None:
        step_model = model_by_rows
        layout = layout._replace(fsdp=fsdp_shardings(specs["shared"], axes["shared"], mesh))
    if placement is not None:
        gathered = _gathered(shapes.params, placement)
        optimizer = on_parts(optimizer, shardings(moments, mesh), gathered)
    update = make_step(step_model, method, optimizer, config, layout).update

    share = process_share(mesh, rows) if several else RowShare()
    shape = " x ".join(f"{name} {size}" for name, size in mesh.shape.items())
    tasks = "tasks on groups of devices" if placement else "all tasks on all devices"
    about = f"{shape} devices, {parallel.strategy}, {parallel.sharding}; {tasks}: {reason}"
    if uncovered:
        about += f"; replicated, as no rule covers them: {', '.join(uncovered)}"
    return Distributed(
        mesh=mesh,
        model=model_by_rows,
        state=state,
        init=jax.jit(init, out_shardings=state),
        step=compiled_step(update, mesh, parallel.strategy, state, rows),
        place=lambda tree: _place(tree, mesh, rows),
        row_parts=_parts(mesh, rows),
        about=about + (f"; {jax.process_count()} processes" if several else ""),
        share=share,
        place_own=lambda tree: _place(tree, mesh, rows, share if several else None),
        replicated=NamedSharding(mesh, P()),
        task_parallel=placement is not None,
    )


def _specs(
    parallel: ParallelConfig, mesh: Mesh, params: Any, axes: Any, placement: TaskPlacement | None
) -> tuple[ParameterSpecs, Any]:
    """Of the parameters, and of what the optimizer and the moving average keep of each."""
    fsdp = row_axes(mesh) if parallel.sharding == "fsdp" else ()
    rules = [parse_rule(text) for text in parallel.rules]
    found = parameter_specs(params, axes, mesh, fsdp=fsdp, rules=rules)
    if placement is None:
        return found, found.specs
    # Where each device has a part of the direction, that part is all it keeps.
    moments = {**found.specs, "shared": stored_specs(_dims(params, placement), placement.axes)}
    return (found._replace(specs=moments) if parallel.sharding == "fsdp" else found), moments


def _dims(params: Any, placement: TaskPlacement) -> Any:
    return split_dimensions(params["shared"], axes_size(placement.mesh, placement.axes))


def _gathered(params: Any, placement: TaskPlacement) -> Callable[[Any], Any]:
    """All-gathers updates where the parameters are replicated."""
    if placement.sharded:
        return lambda updates: updates
    dims = _dims(params, placement)

    def gather(updates: Any) -> Any:
        shared = gather_stored(updates["shared"], dims, placement.mesh, placement.axes)
        return {**updates, "shared": shared}

    return gather


def _placement(
    config: Config, model: Model, method: Method, mesh: Mesh, batch: StepBatch, shared: Any
) -> tuple[TaskPlacement | None, str]:
    parallel = config.parallel
    groups = {group.name: [task.name for task in group.tasks] for group in model.layout.groups}
    tasks = sum(map(len, groups.values()))
    if mesh.shape["task"] > 1 and tasks % mesh.shape["task"]:
        raise ValueError(f"a task axis of {mesh.shape['task']} does not divide {tasks} tasks")
    why = _no_placement(config, model, method, mesh)
    if parallel.placement == "task" and why:
        raise ValueError(f"placement 'task': {why}")
    if parallel.placement == "off" or why:
        return None, why or "as asked for"
    kinds = {name: (model.network.attention[name], _shapes(batch[name])) for name in groups}
    sharded = parallel.sharding == "fsdp"
    if parallel.placement == "task":
        try:
            by_index = divide_groups(groups, mesh.shape["task"], kinds)
            return TaskPlacement(mesh, by_index, sharded), "as asked for"
        except ValueError as error:
            raise ValueError(f"placement 'task': {error}") from None
    if not reads_gradients(method):
        return None, f"weighting {config.weighting!r} reads no gradients"
    if config.weighting_options.get("every", 1) != 1:
        return None, "steps between those of weighting.every read no gradients"
    size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shared))
    rows = {name: batch[name]["tokens"].shape[0] for name in groups}
    by_index, reason = choose_placement(mesh, groups, kinds, size, rows=rows)
    return None if by_index is None else TaskPlacement(mesh, by_index, sharded), reason


def _no_placement(config: Config, model: Model, method: Method, mesh: Mesh) -> str:
    """Why tasks cannot be on groups of devices, whatever their number; else empty."""
    if config.parallel.strategy != "jit":
        return f"strategy {config.parallel.strategy!r} has no axis of tasks"
    if mesh.shape["model"] > 1:
        return "the axis of features has several devices"
    if config.gradients.strategy in APPROXIMATE:
        return f"gradients.strategy {config.gradients.strategy!r} has no gradients side by side"
    return ""


def _shapes(group: Any) -> Any:
    shapes = {n: tuple(v.shape) for n, v in group.items() if n not in ("targets", "weights")}
    return tuple(sorted(shapes.items()))


def check_stages(devices: Distributed, stages: Sequence[Mapping[str, int]]) -> None:
    """Check that the devices can share the rows of every stage of a run.

    Raises:
      UserError: naming the input group whose rows cannot be divided.
    """
    if devices.mesh is None:
        return
    count = devices.row_parts
    for stage in stages:
        for name, size in stage.items():
            if size % count:
                raise UserError(
                    f"parallel: the batch of input group {name!r} has {size} rows, which cannot be "
                    f"divided among {count} devices; --batch.multiple {count} makes all divide"
                )


def _parts(mesh: Mesh, rows: P) -> int:
    axes = rows[0] if rows else None
    return axes_size(mesh, () if axes is None else (axes,) if isinstance(axes, str) else axes)


def _place(tree: Any, mesh: Mesh, rows: P, share: RowShare | None = None) -> Any:
    count = _parts(mesh, rows)

    def filled(leaf: Any) -> Any:
        # A group that sits a step out has one row, which is empty.
        if share is None and leaf.shape[0] == 1 and count > 1:
            return np.concatenate([leaf, np.zeros((count - 1, *leaf.shape[1:]), leaf.dtype)])
        return leaf

    tree = jax.tree.map(filled, tree)
    try:
        if jax.process_count() > 1:
            return global_rows(tree, mesh, rows, share)
        return shard_rows(tree, mesh, rows)
    except ValueError as error:
        raise UserError(f"parallel: {error}") from None


def on_parts(
    optimizer: optax.GradientTransformation, parts: Any, gather: Callable[[Any], Any]
) -> optax.GradientTransformationExtraArgs:
    """An optimizer that works where the parts of the direction are, with the same state.

    Args:
      optimizer: any; what it sums over, such as a norm, is summed over the devices by XLA.
      parts: shardings of the direction.
      gather: puts the updates where the parameters are.
    """
    inner = optax.with_extra_args_support(optimizer)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        updates = jax.lax.with_sharding_constraint(updates, parts)
        updates, state = inner.update(updates, state, params, **extra)
        return gather(jax.lax.with_sharding_constraint(updates, parts)), state

    return optax.GradientTransformationExtraArgs(inner.init, update)

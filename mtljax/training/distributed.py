"""A train step on the devices of a configuration: their mesh, shardings and the compiled step."""

import dataclasses
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
from mtljax.parallel.placement import TaskPlacement
from mtljax.parallel.processes import RowShare, global_rows, process_share
from mtljax.parallel.task_exchange import gather_stored, stored_specs
from mtljax.presets import Config, ParallelConfig
from mtljax.step.method import Method, Rule, as_method
from mtljax.step.state import StepMetrics, TrainState
from mtljax.training.long_rows import read_long_rows
from mtljax.training.model import Model
from mtljax.training.objective import StepBatch
from mtljax.training.objectives.device_layout import DeviceLayout
from mtljax.training.passes import passes_of
from mtljax.training.step import make_step
from mtljax.training.task_placement import task_placement

_SHOWN_PATHS = 3
"""Paths of parameters, at most, that the first line of a run names."""


class Distributed(NamedTuple):
    """A train step on its devices.

    Attributes:
      mesh: the mesh of the devices; None on one device.
      model: the model for evaluation; its encoder keeps the rows of activations where `place` puts
        those of a batch.
      state: the shardings of the train state, a tree like it; None on one device.
      init: ``batch -> state``, jitted; each device draws its shards of the parameters.
      step: ``(state, batch, extra) -> (state, metrics)``, jitted, with the state donated.
      measuring_step: the same for steps whose gradients are measured; None where all steps are one.
      place: puts a batch on the devices; with several processes, a batch of all rows, which every
        process has.
      row_devices: the number of devices that the rows of a batch are divided among.
      about: how the devices share the step, in one line; empty on one device.
      share: the rows of a batch that this process has.
      place_own: puts a batch of these rows on the devices of this process, as shards of global
        arrays.
      replicated: the sharding under which every process has the full array; None on one device.
      task_parallel: whether groups of devices work on different tasks.
      passes: how input groups are encoded, in one line; empty where there is no choice.
    """

    mesh: Mesh | None
    model: Model
    state: TrainState | None
    init: Callable[[StepBatch], TrainState]
    step: Callable[..., tuple[TrainState, StepMetrics]]
    place: Callable[[Any], Any]
    row_devices: int
    about: str
    share: RowShare = RowShare()
    place_own: Callable[[Any], Any] = jax.device_put
    replicated: NamedSharding | None = None
    task_parallel: bool = False
    passes: str = ""
    measuring_step: Callable[..., tuple[TrainState, StepMetrics]] | None = None

    def evaluated(self, params: Any) -> Any:
        """Parameters for evaluation, with the shardings of those that are trained."""
        return params if self.state is None else jax.device_put(params, self.state.params)


def distribute(
    config: Config,
    model: Model,
    method: Method | Rule,
    optimizer: optax.GradientTransformation,
    batch: StepBatch,
    devices: Sequence[Any] | None = None,
) -> Distributed:
    """Makes the train step of a configuration for its devices, without compiling it.

    Args:
      config: the configuration, whose `parallel` says how the devices share the step.
      model: the model, from `build_model`.
      method: the weighting or aggregator: see `make_step`.
      optimizer: any Optax transformation: see `make_step`.
      batch: the batch of a step, or its shapes: by input group a dictionary of arrays ``[R, ...]``.
      devices: the devices to use, all by default; those of a topology description, to compile for
        devices that this machine lacks.

    Returns:
      A `Distributed`, whose `init` and `step` can be lowered or called.

    Raises:
      UserError: a mesh, sharding rules or a batch that do not fit.
    """
    parallel, method = config.parallel, as_method(method)
    on_one = parallel.task == parallel.data == parallel.model == 1
    if devices is None and on_one and jax.process_count() > 1:
        raise UserError(
            f"parallel: one device was asked for, and {jax.process_count()} processes have "
            f"{jax.device_count()}; --parallel.data 0 divides the rows among all"
        )
    try:
        if devices is None and on_one:
            _check_exchange(parallel, "there is one device")
            return _on_one_device(config, model, method, optimizer)
        mesh = make_mesh(parallel.task, parallel.data, parallel.model, devices)
        return _on_mesh(config, model, method, optimizer, batch, mesh)
    except ValueError as error:
        raise UserError(f"parallel: {error}") from None


@dataclasses.dataclass(frozen=True, eq=False)
class _OfSeed:
    """A compiled function for one seed, its first argument.

    Runs of other seeds are the same program, compiled once where compiled programs are kept.
    """

    function: Any
    seed: np.uint32

    def __call__(self, *arguments: Any) -> Any:
        return self.function(self.seed, *arguments)

    def lower(self, *arguments: Any) -> Any:
        """Trace the function, see `jax.jit`."""
        return self.function.lower(self.seed, *arguments)


def _on_one_device(
    config: Config, model: Model, method: Method, optimizer: optax.GradientTransformation
) -> Distributed:
    # Committed to its device, as a state from a checkpoint is: both have the same compiled step.
    (device,) = jnp.zeros(()).devices()
    model, about = read_long_rows(model, [device])
    passes, about_passes = passes_of(config, model, method, [device])
    layout = DeviceLayout(passes=passes)
    make_step(model, method, optimizer, config, layout)  # what does not fit is said here

    def init(seed: jax.Array, batch: StepBatch) -> TrainState:
        return make_step(model, method, optimizer, config, layout, seed).init(batch)

    def update(seed: jax.Array, *arguments: Any) -> tuple[TrainState, StepMetrics]:
        return make_step(model, method, optimizer, config, layout, seed).update(*arguments)

    seed = np.uint32(config.seed)
    return Distributed(
        mesh=None,
        model=model,
        state=None,
        init=_OfSeed(jax.jit(init, out_shardings=SingleDeviceSharding(device)), seed),
        step=_OfSeed(jax.jit(update, donate_argnums=1), seed),
        place=jax.device_put,
        row_devices=1,
        about=about,
        passes=about_passes,
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

    # Which devices work on which tasks, and from that the shardings of the state between steps.
    # They need the shapes of the parameters, so that the step is made twice: once to draw them, and
    # below with its layout.
    init = make_step(model, method, optimizer, config).init
    shapes = jax.eval_shape(init, batch)
    model, about_attention = read_long_rows(model, list(mesh.devices.flat))
    placement, reason = task_placement(config, model, method, mesh, batch, shapes.params["shared"])
    if placement is None:
        _check_exchange(parallel, reason)
    axes = logical_axes(model.network, shapes.params)
    (specs, uncovered), moments = _specs(parallel, mesh, shapes.params, axes, placement)
    state = follow(shapes, shapes.params, moments)._replace(params=specs)
    state = shardings(state, mesh)
    rows = P(row_axes(mesh) if placement is None else placement.data_axis)

    # Constraints in the encoder keep each row's activations on its device, where XLA decides on
    # shardings: under `jit`. Evaluation always does that.
    encoder = model.network.encoder.clone(rows=NamedSharding(mesh, rows))
    network = dataclasses.replace(model.network, encoder=encoder)
    model_by_rows = dataclasses.replace(model, network=network)
    passes, about_passes = passes_of(
        config, model, method, list(mesh.devices.flat), placed=placement is not None
    )
    layout = DeviceLayout(split_of(mesh, parallel.strategy), placement, passes=passes)
    step_model = model
    if parallel.strategy == "jit" and placement is None:
        step_model = model_by_rows
        layout = layout._replace(fsdp=fsdp_shardings(specs["shared"], axes["shared"], mesh))
    if placement is not None:
        # Each device holds a shard of the direction, of all tasks: it updates that shard alone.
        gather = _gather_updates(shapes.params, placement)
        optimizer = on_shards(optimizer, shardings(moments, mesh), gather)
    update = make_step(step_model, method, optimizer, config, layout).update

    share = process_share(mesh, rows) if several else RowShare()
    shape = " x ".join(f"{name} {size}" for name, size in mesh.shape.items())
    tasks = "tasks on groups of devices" if placement else "all tasks on all devices"
    about = f"{shape} devices, {parallel.strategy}, {parallel.sharding}; {tasks}: {reason}"
    if about_attention:
        about += f"; {about_attention}"
    if uncovered:
        about += f"; replicated, as no rule covers them: {_first_paths(uncovered)}"
    return Distributed(
        mesh=mesh,
        model=model_by_rows,
        state=state,
        init=jax.jit(init, out_shardings=state),
        step=compiled_step(update, mesh, parallel.strategy, state, rows),
        place=lambda tree: _put_rows(tree, mesh, rows),
        row_devices=_row_devices(mesh, rows),
        about=about + (f"; {jax.process_count()} processes" if several else ""),
        share=share,
        place_own=lambda tree: _put_rows(tree, mesh, rows, share if several else None),
        replicated=NamedSharding(mesh, P()),
        task_parallel=placement is not None,
        passes=about_passes,
    )


def _specs(
    parallel: ParallelConfig, mesh: Mesh, params: Any, axes: Any, placement: TaskPlacement | None
) -> tuple[ParameterSpecs, Any]:
    """The specs of the parameters, and those of their moments and moving averages."""
    fsdp = row_axes(mesh) if parallel.sharding == "fsdp" else ()
    rules = [parse_rule(text) for text in parallel.rules]
    specs = parameter_specs(params, axes, mesh, fsdp=fsdp, rules=rules)
    if placement is None:
        return specs, specs.specs
    # A device updates only its shard of the direction, and keeps moments of no other.
    moments = {
        **specs.specs,
        "shared": stored_specs(_split_dims(params, placement), placement.axes),
    }
    return (specs._replace(specs=moments) if parallel.sharding == "fsdp" else specs), moments


def _check_exchange(parallel: ParallelConfig, reason: str) -> None:
    """Refuses a dtype of an exchange that there is not."""
    if parallel.exchange != "auto":
        raise ValueError(
            f"exchange {parallel.exchange!r}: no tasks are on groups of devices: {reason}"
        )


def _split_dims(params: Any, placement: TaskPlacement) -> Any:
    return split_dimensions(params["shared"], axes_size(placement.mesh, placement.axes))


def _gather_updates(params: Any, placement: TaskPlacement) -> Callable[[Any], Any]:
    """A function that all-gathers updates where the parameters are replicated."""
    if placement.sharded:
        return lambda updates: updates
    dims = _split_dims(params, placement)

    def gather(updates: Any) -> Any:
        along = placement.mesh, placement.axes
        shared = gather_stored(updates["shared"], dims, *along, placement.dtype)
        return {**updates, "shared": shared}

    return gather


def _first_paths(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:_SHOWN_PATHS])
    more = len(paths) - _SHOWN_PATHS
    return f"{shown} and {more} more" if more > 0 else shown


def check_stages(devices: Distributed, stages: Sequence[Mapping[str, int]]) -> None:
    """Check that the devices can share the rows of every stage of a run.

    Args:
      devices: the devices of the run, from `distribute`.
      stages: for each stage, the number of rows in the batch of each input group.

    Raises:
      UserError: naming the input group whose rows cannot be divided.
    """
    if devices.mesh is None:
        return
    count = devices.row_devices
    for stage in stages:
        for name, size in stage.items():
            if size % count:
                raise UserError(
                    f"parallel: the batch of input group {name!r} has {size} rows, which cannot be "
                    f"divided among {count} devices; --batch.multiple {count} makes all divide"
                )


def _row_devices(mesh: Mesh, rows: P) -> int:
    """The number of devices that rows with this partition are divided among."""
    axes = rows[0] if rows else None
    return axes_size(mesh, () if axes is None else (axes,) if isinstance(axes, str) else axes)


def _put_rows(tree: Any, mesh: Mesh, rows: P, share: RowShare | None = None) -> Any:
    count = _row_devices(mesh, rows)

    def padded(leaf: Any) -> Any:
        # A group without a batch in this step has one row, of padding: it gets one per device.
        if share is None and leaf.shape[0] == 1 and count > 1:
            return np.concatenate([leaf, np.zeros((count - 1, *leaf.shape[1:]), leaf.dtype)])
        return leaf

    tree = jax.tree.map(padded, tree)
    try:
        if jax.process_count() > 1:
            return global_rows(tree, mesh, rows, share)
        return shard_rows(tree, mesh, rows)
    except ValueError as error:
        raise UserError(f"parallel: {error}") from None


def on_shards(
    optimizer: optax.GradientTransformation, shards: Any, gather: Callable[[Any], Any]
) -> optax.GradientTransformationExtraArgs:
    """An optimizer that updates each shard of the direction on its device, with the same state.

    Args:
      optimizer: any Optax transformation; XLA sums what it sums over, such as a norm, over devices.
      shards: the shardings of the direction, a tree like it.
      gather: from sharded updates to updates with the shardings of the parameters.

    Returns:
      An Optax transformation with the state of `optimizer`.
    """
    inner = optax.with_extra_args_support(optimizer)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        updates = jax.lax.with_sharding_constraint(updates, shards)
        updates, state = inner.update(updates, state, params, **extra)
        return gather(jax.lax.with_sharding_constraint(updates, shards)), state

    return optax.GradientTransformationExtraArgs(inner.init, update)

"""A training step on the devices of a configuration: their mesh, what lies where, and the step."""

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
from mtljax.parallel import (
    Placement,
    Share,
    axes_size,
    brought_together,
    choose_placement,
    compiled_step,
    even_places,
    follow,
    kept_specs,
    make_mesh,
    own_share,
    parameter_specs,
    parse_rule,
    place_rows,
    residence,
    row_axes,
    shardings,
    split_dimensions,
    split_of,
    spread_rows,
)
from mtljax.presets import Config, ParallelConfig
from mtljax.training.model import Model
from mtljax.training.objective import StepBatch
from mtljax.training.state import StepMetrics, TrainState
from mtljax.training.step import make_init, make_step
from mtljax.training.update.strategy import LAGGED
from mtljax.training.update.types import Method, Rule, as_method, reads_gradients


class Distributed(NamedTuple):
    """What a run needs of its devices.

    Attributes:
      mesh: of the devices; None where one device does all.
      model: for evaluation, with the rows of its batches where `place` puts them.
      state: shardings of the train state, a tree like it; None where one device does all.
      init: ``batch -> state``, jitted, each device drawing its part.
      step: ``(state, batch, extra) -> (state, metrics)``, compiled, the state donated.
      place: puts batches on the devices; with several processes, whole ones that all of them have.
      row_parts: devices that the rows of a batch are divided among.
      about: in one line, how the devices share the step; empty where one does all.
      share: the rows that this process has of a batch.
      place_own: puts batches of these rows on its devices, as parts of those of all processes.
      where: a sharding of which every process has the whole array; None where one device does all.
      placed: whether groups of devices work on different tasks.
    """

    mesh: Mesh | None
    model: Model
    state: TrainState | None
    init: Callable[[StepBatch], TrainState]
    step: Callable[..., tuple[TrainState, StepMetrics]]
    place: Callable[[Any], Any]
    row_parts: int
    about: str
    share: Share = Share()
    place_own: Callable[[Any], Any] = jax.device_put
    where: NamedSharding | None = None
    placed: bool = False

    def evaluated(self, params: Any) -> Any:
        """Parameters as evaluation wants them: where those that are trained lie."""
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
    alone = parallel.task == parallel.data == parallel.model == 1
    if devices is None and alone and jax.process_count() > 1:
        raise UserError(
            f"parallel: one device was asked for, and {jax.process_count()} processes have "
            f"{jax.device_count()}; --parallel.data 0 divides the rows among all"
        )
    if devices is None and alone:
        # Bound to its device, as a state from a checkpoint is: both have the same compiled step.
        (here,) = jnp.zeros(()).devices()
        init = jax.jit(
            make_init(model, method, optimizer, config), out_shardings=SingleDeviceSharding(here)
        )
        step = jax.jit(make_step(model, method, optimizer, config), donate_argnums=0)
        return Distributed(None, model, None, init, step, jax.device_put, 1, "")
    try:
        mesh = make_mesh(parallel.task, parallel.data, parallel.model, devices)
        return _on_mesh(config, model, method, optimizer, batch, mesh)
    except ValueError as error:
        raise UserError(f"parallel: {error}") from None


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
    first = make_init(model, method, optimizer, config)
    shapes = jax.eval_shape(first, batch)
    placement, reason = _placement(config, model, method, mesh, batch, shapes.params["shared"])
    specs, moments = _specs(parallel, mesh, shapes.params, placement)
    state = follow(shapes, shapes.params, moments)._replace(params=specs)
    state = shardings(state, mesh)
    rows = P(row_axes(mesh) if placement is None else placement.data)
    encoder = model.network.encoder.clone(rows=NamedSharding(mesh, rows))
    by_rows = dataclasses.replace(
        model, network=dataclasses.replace(model.network, encoder=encoder)
    )
    seen = dataclasses.replace(model, split=split_of(mesh, parallel.strategy), placement=placement)
    if parallel.strategy == "jit" and placement is None:
        seen = dataclasses.replace(by_rows, residence=residence(specs["shared"], mesh))
    if placement is not None:
        optimizer = on_parts(optimizer, shardings(moments, mesh), _whole(shapes.params, placement))
    step = make_step(seen, method, optimizer, config)
    share = own_share(mesh, rows) if several else Share()
    shape = " x ".join(f"{name} {size}" for name, size in mesh.shape.items())
    return Distributed(
        mesh,
        by_rows,
        state,
        jax.jit(first, out_shardings=state),
        compiled_step(step, mesh, parallel.strategy, state, rows),
        lambda tree: _place(tree, mesh, rows),
        _parts(mesh, rows),
        f"{shape} devices, {parallel.strategy}, {parallel.sharding}; "
        f"{'tasks on groups of devices' if placement else 'all tasks on all devices'}: {reason}"
        + (f"; {jax.process_count()} processes" if several else ""),
        share,
        lambda tree: _place(tree, mesh, rows, share if several else None),
        NamedSharding(mesh, P()),
        placement is not None,
    )


def _specs(
    parallel: ParallelConfig, mesh: Mesh, params: Any, placement: Placement | None
) -> tuple[Any, Any]:
    """Of the parameters, and of what the optimizer and the moving average keep of each."""
    spread = row_axes(mesh) if parallel.sharding == "fsdp" else ()
    rules = [parse_rule(text) for text in parallel.rules]
    specs = parameter_specs(params, mesh, spread=spread, rules=rules)
    if placement is None:
        return specs, specs
    # Where each device has a part of the direction, that part is all it keeps.
    moments = {**specs, "shared": kept_specs(_dims(params, placement), placement.axes)}
    return (moments if parallel.sharding == "fsdp" else specs), moments


def _dims(params: Any, placement: Placement) -> Any:
    return split_dimensions(params["shared"], axes_size(placement.mesh, placement.axes))


def _whole(params: Any, placement: Placement) -> Callable[[Any], Any]:
    """Brings updates together where the parameters are whole."""
    if placement.in_parts:
        return lambda updates: updates
    dims = _dims(params, placement)

    def whole(updates: Any) -> Any:
        shared = brought_together(updates["shared"], dims, placement.mesh, placement.axes)
        return {**updates, "shared": shared}

    return whole


def _placement(
    config: Config, model: Model, method: Method, mesh: Mesh, batch: StepBatch, shared: Any
) -> tuple[Placement | None, str]:
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
    in_parts = parallel.sharding == "fsdp"
    if parallel.placement == "task":
        try:
            places = even_places(groups, mesh.shape["task"], kinds)
            return Placement(mesh, places, in_parts), "as asked for"
        except ValueError as error:
            raise ValueError(f"placement 'task': {error}") from None
    if not reads_gradients(method):
        return None, f"weighting {config.weighting!r} reads no gradients"
    if config.weighting_options.get("every", 1) != 1:
        return None, "steps between those of weighting.every read no gradients"
    size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shared))
    rows = {name: batch[name]["tokens"].shape[0] for name in groups}
    places, reason = choose_placement(mesh, groups, kinds, size, rows=rows)
    return None if places is None else Placement(mesh, places, in_parts), reason


def _no_placement(config: Config, model: Model, method: Method, mesh: Mesh) -> str:
    """Why tasks cannot be on groups of devices, whatever their number; else empty."""
    if config.parallel.strategy != "jit":
        return f"strategy {config.parallel.strategy!r} has no axis of tasks"
    if mesh.shape["model"] > 1:
        return "the axis of features has several devices"
    if config.gradients.strategy in (*LAGGED, "representation"):
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


def _place(tree: Any, mesh: Mesh, rows: P, share: Share | None = None) -> Any:
    count = _parts(mesh, rows)

    def filled(leaf: Any) -> Any:
        # A group that sits a step out has one row, which is empty.
        if share is None and leaf.shape[0] == 1 and count > 1:
            return np.concatenate([leaf, np.zeros((count - 1, *leaf.shape[1:]), leaf.dtype)])
        return leaf

    tree = jax.tree.map(filled, tree)
    try:
        if jax.process_count() > 1:
            return spread_rows(tree, mesh, rows, share)
        return place_rows(tree, mesh, rows)
    except ValueError as error:
        raise UserError(f"parallel: {error}") from None


def on_parts(
    optimizer: optax.GradientTransformation, parts: Any, whole: Callable[[Any], Any]
) -> optax.GradientTransformationExtraArgs:
    """An optimizer that works where the parts of the direction are, with the same state.

    Args:
      optimizer: any; what it sums over, such as a norm, is summed over the devices by XLA.
      parts: shardings of the direction.
      whole: brings the updates to where the parameters are.
    """
    inner = optax.with_extra_args_support(optimizer)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        updates = jax.lax.with_sharding_constraint(updates, parts)
        updates, state = inner.update(updates, state, params, **extra)
        return whole(jax.lax.with_sharding_constraint(updates, parts)), state

    return optax.GradientTransformationExtraArgs(inner.init, update)

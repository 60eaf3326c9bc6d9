"""What the train step of a configuration costs on devices that need not be at hand."""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mtljax.data import Layout
from mtljax.errors import UserError
from mtljax.kinds import KINDS
from mtljax.parallel import (
    Costs,
    Topology,
    parse_topology,
    program_costs,
    roofline_seconds,
    too_large,
    topology_devices,
)
from mtljax.planning.assumed_layout import NOTHING_ASSUMED, Assumed, planned_layout
from mtljax.presets import Config, check
from mtljax.tasks import Task
from mtljax.training.distributed import Distributed, check_stages, distribute
from mtljax.training.inputs.abstract_batch import abstract_batch, abstract_extra
from mtljax.training.model import Model, build_model, data_options
from mtljax.training.optimizer import make_optimizer
from mtljax.training.update.method import make_method


class Plan(NamedTuple):
    """What a step costs; all numbers are of one device.

    Attributes:
      topology: as it was named.
      devices: how many there are.
      weighting: the method.
      placement: ``'task'`` where groups of devices work on different tasks, else ``'off'``.
      mesh: devices along each axis.
      shared_parameters: how many.
      tokens: positions of a step, padding included.
      fits: whether the program fits the memory.
      hbm_bytes_per_device: at the fullest moment; where it does not fit, what is known to be
        needed.
      hbm_limit: bytes that there are; None where nobody knows.
      argument_bytes: of parameters, optimizer and batch.
      temp_bytes: of everything else, as if all were there at once.
      flops_per_device: of the matrix products.
      collective_bytes: that it sends, by kind of collective.
      collective_bytes_total: their sum.
      roofline_seconds: the least time of a step, see `mtljax.parallel.roofline_seconds`.
      compile_seconds: what the compiler took.
    """

    topology: str
    devices: int
    weighting: str
    placement: str
    mesh: Mapping[str, int]
    shared_parameters: int
    tokens: int
    fits: bool
    hbm_bytes_per_device: int
    hbm_limit: int | None
    argument_bytes: int
    temp_bytes: int | None
    flops_per_device: float | None
    collective_bytes: Mapping[str, int] | None
    collective_bytes_total: int | None
    roofline_seconds: float | None
    compile_seconds: float


def layout_of(
    config: Config,
    tasks: Sequence[Task],
    assumed: Assumed = NOTHING_ASSUMED,
    data_dir: Any = None,
) -> Layout:
    """What the step reads, from the first rows of the data or from none; see `planned_layout`."""
    check(config)
    options = data_options(config, tuple(tasks))
    return planned_layout(
        tuple(tasks), options, assumed, tokenizer=config.tokenizer, data_dir=data_dir
    )


def read_topology(name: str) -> tuple[Topology, Sequence[Any]]:
    """A topology and its devices.

    Raises:
      UserError: there is none of that name, or no compiler for it.
    """
    try:
        topology = parse_topology(name)
        return topology, topology_devices(topology)
    except (ValueError, RuntimeError) as error:
        raise UserError(str(error)) from None


def plan(
    config: Config,
    layout: Layout,
    topology: Topology,
    devices: Sequence[Any],
    memory: int | None = None,
) -> Plan:
    """Compiles the train step, and reads what it costs; nothing is run, no array is made.

    Args:
      config: the configuration.
      layout: of the data.
      topology: of the devices.
      devices: from `read_topology`.
      memory: bytes of a device; by default those of its chip.

    Raises:
      UserError: a mesh, a method or a batch that do not fit the devices.
    """
    check(config)
    if topology.chip is not None and config.dtype == "auto":
        config = dataclasses.replace(config, dtype="bfloat16")
    counts = {
        task.name: np.ones(layout.outputs[task.name].num_classes, np.int64)
        for task in layout.tasks
        if KINDS[task.kind].writes
    }
    model = build_model(config, layout, counts)
    method = make_method(config, len(layout.tasks))
    batch = abstract_batch(layout)
    optimizer = make_optimizer(config.optimizer, max(config.steps, 1))
    found = distribute(config, model, method, optimizer, batch, devices)
    rows = {name: shape.rows for name, shape in layout.shapes.items()}
    check_stages(found, [rows])
    state = jax.eval_shape(found.init, batch)
    limit = memory or (None if topology.chip is None else round(topology.chip.memory))
    step: Any = found.step
    started = time.monotonic()
    try:
        program = step.lower(state, batch, abstract_extra(layout, method.requires)).compile()
    except jax.errors.JaxRuntimeError as error:
        sizes = too_large(str(error))
        if sizes is None:
            raise
        needed, there = sizes
        costs, limit = None, memory or there
    else:
        costs = program_costs(program, topology.count, peak=topology.chip is not None)
        needed = costs.memory
    seconds = time.monotonic() - started
    return _plan(config, model, topology, found, state, costs, needed, limit, seconds)


def _plan(
    config: Config,
    model: Model,
    topology: Topology,
    found: Distributed,
    state: Any,
    costs: Costs | None,
    needed: int,
    limit: int | None,
    seconds: float,
) -> Plan:
    shapes = model.layout.shapes.values()
    sent = None if costs is None else {kind: round(size) for kind, size in costs.sent.items()}
    roofline = None
    if costs is not None and topology.chip is not None:
        roofline = roofline_seconds(costs, topology.chip)
    mesh = found.mesh
    return Plan(
        topology=topology.name,
        devices=topology.count,
        weighting=config.weighting,
        placement="task" if found.placed else "off",
        mesh={} if mesh is None else dict(mesh.shape),
        shared_parameters=sum(leaf.size for leaf in jax.tree.leaves(state.params["shared"])),
        tokens=sum(shape.rows * shape.row_length for shape in shapes),
        fits=costs is not None and (limit is None or needed <= limit),
        hbm_bytes_per_device=needed,
        hbm_limit=limit,
        argument_bytes=_argument_bytes(state, found) if costs is None else costs.arguments,
        temp_bytes=None if costs is None else costs.temporaries,
        flops_per_device=None if costs is None else costs.flops,
        collective_bytes=sent,
        collective_bytes_total=None if sent is None else sum(sent.values()),
        roofline_seconds=roofline,
        compile_seconds=round(seconds, 2),
    )


def _argument_bytes(state: Any, found: Distributed) -> int:
    """Bytes of the train state on one device."""

    def of(leaf: Any, sharding: Any) -> int:
        return math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize

    return sum(jax.tree.leaves(jax.tree.map(of, state, found.state)))

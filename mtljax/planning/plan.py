"""The costs of a configuration's train step on devices that need not be at hand."""

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
    topology_devices,
)
from mtljax.parallel.costs import mean_costs, mean_of_steps, too_large
from mtljax.planning.assumed_layout import NOTHING_ASSUMED, Assumed, planned_layout
from mtljax.presets import Config, check
from mtljax.tasks import Task
from mtljax.training.check_config import check_parameters
from mtljax.training.distributed import Distributed, check_stages
from mtljax.training.inputs.abstract_batch import abstract_batch, abstract_extra
from mtljax.training.learned_rates import with_measured_steps
from mtljax.training.measured_steps import distribute_measured
from mtljax.training.method import make_method
from mtljax.training.model import Model, build_model, data_options
from mtljax.training.optimizer import make_optimizer
from mtljax.training.pretrained_start import resolved


class Plan(NamedTuple):
    """The costs of a step; memory, FLOPs and bytes are of one device.

    Where gradients are measured in one step of several, as telemetry and learned rates ask, memory
    is that of the larger step, and FLOPs, bytes sent and seconds are the mean over steps.

    Attributes:
      topology: name of the topology.
      devices: number of devices.
      weighting: name of the method.
      placement: ``'task'`` if groups of devices work on different tasks, else ``'off'``.
      mesh: number of devices along each axis.
      shared_parameters: number of shared parameters.
      tokens: positions of a step, padding included.
      fits: whether the program fits the memory.
      hbm_bytes_per_device: bytes at the peak; if it does not fit, what is known to be needed.
      hbm_limit: bytes of memory; None where they are unknown.
      argument_bytes: bytes of parameters, optimizer state and batch.
      temp_bytes: bytes of everything else, as if all existed at once; None if it does not fit.
      flops_per_device: FLOPs of the matrix products; None if it does not fit.
      collective_bytes: bytes sent, by kind of collective; None if it does not fit.
      collective_bytes_total: their sum.
      roofline_seconds: lower bound of a step's time, see `mtljax.parallel.roofline_seconds`.
      compile_seconds: time of the compiler.
      measured_every: steps from one whose gradients are measured to the next; 0 where all steps
        are alike.
      measured_flops_per_device: FLOPs of such a step; None if there is none, or it does not fit.
      measured_collective_bytes_total: bytes that it sends; None likewise.
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
    measured_every: int = 0
    measured_flops_per_device: float | None = None
    measured_collective_bytes_total: int | None = None


class _Program(NamedTuple):
    """What the compiler says of a step: costs, or where they exceed the memory, sizes alone."""

    costs: Costs | None
    needed: int
    limit: int | None
    seconds: float


def layout_of(
    config: Config,
    tasks: Sequence[Task],
    assumed: Assumed = NOTHING_ASSUMED,
    data_dir: Any = None,
) -> Layout:
    """The layout of the data, from its first rows or from none; see `planned_layout`."""
    config = resolved(config)
    check(config)
    options = data_options(config, tuple(tasks))
    return planned_layout(
        tuple(tasks), options, assumed, tokenizer=config.tokenizer, data_dir=data_dir
    )


def read_topology(name: str) -> tuple[Topology, Sequence[Any]]:
    """A topology and its devices.

    Args:
      name: such as ``v5e:4x4``, or a number of devices of this host.

    Raises:
      UserError: for an unknown topology, or one without a compiler here.
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
    """Compiles the train step and reads its costs; nothing is run, and no array is made.

    Args:
      config: the configuration.
      layout: the layout of the data, from `layout_of`.
      topology: the topology of the devices.
      devices: the devices, from `read_topology`.
      memory: bytes of memory of a device; by default those of its chip.

    Returns:
      The `Plan`; a step that needs more memory than there is gives one that does not fit.

    Raises:
      UserError: for a mesh, a method or a batch that the devices cannot have.
    """
    config = resolved(config)
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
    check_parameters(config, model, method)
    batch = abstract_batch(layout)
    optimizer = make_optimizer(
        config.optimizer, max(config.steps, 1), config.encoder.layers, config.regularizer
    )
    distributed = distribute_measured(config, model, method, optimizer, batch, devices)
    rows = {name: shape.rows for name, shape in layout.shapes.items()}
    check_stages(distributed, [rows])
    state = jax.eval_shape(distributed.init, batch)
    arguments = (state, batch, abstract_extra(layout, method.requires))
    steps = [distributed.step]
    if distributed.measuring_step is not None:
        steps.append(distributed.measuring_step)
    programs = [_compiled(step, arguments, topology, memory) for step in steps]
    return _plan(config, model, topology, distributed, state, programs)


def _compiled(
    step: Any, arguments: tuple[Any, ...], topology: Topology, memory: int | None
) -> _Program:
    limit = memory or (None if topology.chip is None else round(topology.chip.memory))
    started = time.monotonic()
    try:
        program = step.lower(*arguments).compile()
    except jax.errors.JaxRuntimeError as error:
        sizes = too_large(str(error))
        if sizes is None:
            raise
        needed, there = sizes
        return _Program(None, needed, memory or there, time.monotonic() - started)
    costs = program_costs(program, topology.count, peak=topology.chip is not None)
    return _Program(costs, costs.memory, limit, time.monotonic() - started)


def _plan(
    config: Config,
    model: Model,
    topology: Topology,
    distributed: Distributed,
    state: Any,
    programs: Sequence[_Program],
) -> Plan:
    """The plan of one program for all steps, or of two, of which the second one measures."""
    every = with_measured_steps(config)[1] if len(programs) > 1 else 0
    shapes = model.layout.shapes.values()
    largest = max(programs, key=lambda program: program.needed)
    found = [program.costs for program in programs if program.costs is not None]
    costs = roofline = measured = None
    if len(found) == len(programs):
        measured = found[1] if every else None
        costs = mean_costs(found[0], found[1], every) if every else found[0]
        if topology.chip is not None:
            bounds = [roofline_seconds(one, topology.chip) for one in found]
            roofline = mean_of_steps(bounds[0], bounds[1], every) if every else bounds[0]
    sent = None if costs is None else {kind: round(size) for kind, size in costs.sent.items()}
    mesh = distributed.mesh
    return Plan(
        topology=topology.name,
        devices=topology.count,
        weighting=config.weighting,
        placement="task" if distributed.task_parallel else "off",
        mesh={} if mesh is None else dict(mesh.shape),
        shared_parameters=sum(leaf.size for leaf in jax.tree.leaves(state.params["shared"])),
        tokens=sum(shape.rows * shape.row_length for shape in shapes),
        fits=costs is not None and (largest.limit is None or largest.needed <= largest.limit),
        hbm_bytes_per_device=largest.needed,
        hbm_limit=largest.limit,
        argument_bytes=_argument_bytes(state, distributed) if costs is None else costs.arguments,
        temp_bytes=None if costs is None else costs.temporaries,
        flops_per_device=None if costs is None else costs.flops,
        collective_bytes=sent,
        collective_bytes_total=None if sent is None else sum(sent.values()),
        roofline_seconds=roofline,
        compile_seconds=round(sum(program.seconds for program in programs), 2),
        measured_every=every,
        measured_flops_per_device=None if measured is None else measured.flops,
        measured_collective_bytes_total=(
            None if measured is None else round(sum(measured.sent.values()))
        ),
    )


def _argument_bytes(state: Any, distributed: Distributed) -> int:
    """Bytes of the train state on one device."""

    def of(leaf: Any, sharding: Any) -> int:
        return math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize

    return sum(jax.tree.leaves(jax.tree.map(of, state, distributed.state)))

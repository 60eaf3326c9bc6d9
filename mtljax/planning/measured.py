"""What a configuration's train step costs on the devices at hand: measured, not planned."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mtljax.data import MultitaskData, load_data
from mtljax.errors import UserError
from mtljax.parallel import peak_flops, program_costs, traced_flops
from mtljax.parallel.costs import mean_of_steps
from mtljax.presets import Config, ParallelConfig, check
from mtljax.step.method import Method
from mtljax.step.state import TrainState
from mtljax.tasks import Task
from mtljax.training.composed import compose
from mtljax.training.inputs.abstract_batch import abstract_batch, abstract_extra
from mtljax.training.inputs.aligned_streams import AlignedStreams
from mtljax.training.inputs.device_prefetch import DevicePrefetch, PrefetchedBatch
from mtljax.training.learned_rates import with_measured_steps
from mtljax.training.model import build_model, data_options
from mtljax.training.optimizer import make_optimizer
from mtljax.training.pretrained_start import resolved
from mtljax.training.reporting.data_overview import class_counts
from mtljax.training.step import make_step
from mtljax.versions import versions


class Amount(NamedTuple):
    """How often a step is measured.

    Attributes:
      rounds: times between two looks at the clock.
      steps: in a round.
      warm_up: steps before the first round.
    """

    rounds: int = 10
    steps: int = 5
    warm_up: int = 3


USUAL = Amount()
"""As often as a command measures, if it is told nothing."""


class Measured(NamedTuple):
    """The costs of a step.

    Where gradients are measured in one step of several, seconds and FLOPs are the mean over steps,
    and memory is that of the larger one.

    Attributes:
      weighting: name of the method.
      mesh: number of devices along each axis; empty on one device.
      tokens: real tokens of a step, on average.
      positions: of a step, padding included.
      step_seconds: the median over the rounds.
      step_seconds_spread: the quarter of the rounds that was fastest took less than the first, the
        slowest quarter more than the second.
      tokens_per_second: real tokens over the median.
      tokens_per_second_spread: likewise, the slower one first.
      model_flops: of the matrix products of a step, as the method needs them: recomputed ones do
        not count, and fused attention counts as plain one.
      mfu: model FLOPs a second over the peak of all devices.
      memory_bytes_per_device: of the compiled step, as `mtljax plan` says it.
      compile_seconds: of tracing, lowering and compiling the step.
      measured_every: steps from one whose gradients are measured to the next; 0 where all steps
        are alike.
      measured_step_seconds: the median of such a step; None where there is none.
    """

    weighting: str
    mesh: Mapping[str, int]
    tokens: float
    positions: int
    step_seconds: float
    step_seconds_spread: tuple[float, float]
    tokens_per_second: float
    tokens_per_second_spread: tuple[float, float]
    model_flops: float
    mfu: float
    memory_bytes_per_device: int
    compile_seconds: float
    measured_every: int = 0
    measured_step_seconds: float | None = None


class Device(NamedTuple):
    """The devices at hand.

    Attributes:
      kind: of each.
      count: how many there are.
      peak_flops: FLOPs a second of those that a step uses, together.
      peak_from: 'data sheet' or 'measured', see `mtljax.parallel.peak_flops`.
      versions: of what computes.
    """

    kind: str
    count: int
    peak_flops: float
    peak_from: str
    versions: Mapping[str, str]


def devices_at_hand(parallel: ParallelConfig) -> Device:
    """The devices of this process, and the peak of those that a step uses.

    Args:
      parallel: how devices share it.
    """
    device = jax.devices()[0]
    peak, source = peak_flops(device)
    axes = parallel.task, parallel.data, parallel.model
    used = jax.device_count() if min(axes) < 1 else math.prod(axes)
    # Devices of a CPU share its cores.
    together = peak * (1 if device.platform == "cpu" else used)
    return Device(device.device_kind, jax.device_count(), together, source, versions())


def data_of(
    config: Config,
    tasks: tuple[Task, ...],
    data_dir: Any = None,
    cache_dir: Any = None,
    say: Callable[[str], None] = lambda text: None,
) -> MultitaskData:
    """The data of a run of this configuration, as `mtljax.train` reads it.

    Raises:
      UserError: for a configuration or data that cannot be used.
    """
    config = resolved(config)
    check(config)
    options = data_options(config, tasks)
    places = {"data_dir": data_dir, "cache_dir": cache_dir}
    return load_data(tasks, options, tokenizer=config.tokenizer, say=say, **places)


def check_measured(config: Config) -> None:
    """Check that a configuration has steps that can be measured alone.

    Raises:
      UserError: if its rates are learned, or its parameters solved for.
    """
    if config.mixture.schedule != "off":
        raise UserError("mixture.schedule: steps of rates that are learned are not measured")
    solver = config.optimizer.solver
    if solver != "adamw":
        raise UserError(f"optimizer.solver {solver!r}: makes no steps that could be measured")


def measure(
    config: Config, data: MultitaskData, device: Device, amount: Amount = USUAL
) -> Measured:
    """Compile the train step of a run, do it on batches that are there already, and time it.

    Where telemetry is of some steps alone, both steps are measured, one after the other.

    Args:
      config: of the run; rates of the mixture are those of its first stage.
      data: from `data_of`.
      device: from `devices_at_hand`.
      amount: how often.

    Returns:
      What it costs.

    Raises:
      UserError: for a mesh, a method or a batch that the devices cannot have.
    """
    config = resolved(config)
    check(config)
    check_measured(config)
    composed = compose(config, data)
    devices, requires = composed.devices, composed.method.requires

    streams = AlignedStreams(data, config, requires, data.schedule(1, config.seed))
    prefetched = DevicePrefetch(streams, place=devices.place_own)
    try:
        inputs = [next(prefetched) for _ in range(amount.steps)]
    finally:
        prefetched.close()
    steps = [devices.step]
    if devices.measuring_step is not None:
        steps.append(devices.measuring_step)
    every = with_measured_steps(config)[1] if len(steps) > 1 else 0
    state, timed = devices.init(inputs[0].batch), []
    for step in steps:
        one, state = _timed(step, state, inputs, amount)
        timed.append(one)
    low, median, high = (
        _mean([float(np.quantile(one.seconds, q)) for one in timed], every)
        for q in (0.25, 0.5, 0.75)
    )
    tokens = statistics.mean(one.tokens for one in inputs)
    telemetries = [False, True] if every else [config.gradients.telemetry]
    flops = _mean(
        [model_flops(_with(config, t), data, composed.method) for t in telemetries], every
    )
    used = 1 if devices.mesh is None else devices.mesh.size
    on_cpu = jax.default_backend() == "cpu"
    return Measured(
        weighting=config.weighting,
        mesh={} if devices.mesh is None else dict(devices.mesh.shape),
        tokens=tokens,
        positions=inputs[0].positions,
        step_seconds=median,
        step_seconds_spread=(low, high),
        tokens_per_second=tokens / median,
        tokens_per_second_spread=(tokens / high, tokens / low),
        model_flops=flops,
        mfu=flops / median / device.peak_flops,
        memory_bytes_per_device=max(
            program_costs(one.program, used, peak=not on_cpu).memory for one in timed
        ),
        compile_seconds=sum(one.compile_seconds for one in timed),
        measured_every=every,
        measured_step_seconds=statistics.median(timed[1].seconds) if every else None,
    )


class _Timed(NamedTuple):
    """A compiled step, and the seconds that it took in each round."""

    program: Any
    compile_seconds: float
    seconds: list[float]


def _timed(
    step: Any, state: TrainState, inputs: Sequence[PrefetchedBatch], amount: Amount
) -> tuple[_Timed, TrainState]:
    """Compile a step and time it; also the state after it."""
    began = time.perf_counter()
    program = step.lower(state, inputs[0].batch, inputs[0].extra).compile()
    compile_seconds = time.perf_counter() - began
    seed = getattr(step, "seed", None)
    call = program if seed is None else lambda *arguments: program(seed, *arguments)

    seconds = []
    for number in range(amount.rounds + 1):
        count = amount.steps if number else amount.warm_up
        began = time.perf_counter()
        for i in range(count):
            one = inputs[i % len(inputs)]
            state, metrics = call(state, one.batch, one.extra)
            del metrics
        jax.block_until_ready(state)
        if number:
            seconds.append((time.perf_counter() - began) / count)
    return _Timed(program, compile_seconds, seconds), state


def _mean(values: Sequence[float], every: int) -> float:
    """The mean over steps of which one in `every` has the second value; the only one, if one."""
    return mean_of_steps(values[0], values[1], every) if every else values[0]


def _with(config: Config, telemetry: bool) -> Config:
    gradients = dataclasses.replace(config.gradients, telemetry=telemetry)
    return dataclasses.replace(config, gradients=gradients)


def model_flops(config: Config, data: MultitaskData, method: Method) -> float:
    """FLOPs of the matrix products that a step needs, of all devices together.

    Args:
      config: of the run.
      data: of the run.
      method: of the run.
    """
    plain: dict[str, Any] = {"remat": "none", "attention": "xla"}
    encoder = dataclasses.replace(config.encoder, **plain)
    config = dataclasses.replace(config, encoder=encoder, parallel=ParallelConfig())
    model = build_model(config, data.layout, class_counts(data))
    optimizer = make_optimizer(config.optimizer, 1, config.encoder.layers, config.regularizer)
    step = make_step(model, method, optimizer, config)
    batch, extra = abstract_batch(data.layout), abstract_extra(data.layout, method.requires)
    state = jax.eval_shape(step.init, batch)
    return traced_flops(jax.make_jaxpr(step.update)(state, batch, extra))

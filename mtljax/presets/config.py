"""The configuration of a training run: frozen, nested, plain data."""

import dataclasses
from typing import Any, Literal

from mtljax.data.batching.mixture import MixtureSettings
from mtljax.data.tokenizers import TokenizerSettings
from mtljax.errors import UserError
from mtljax.modules.config import DecoderConfig, EncoderConfig, HeadsConfig, output_width
from mtljax.ranges import at_least, bounded, check_ranges, fraction, positive


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """How data sets are read.

    Attributes:
      bad_rows: what a malformed row of a file, or one that a task cannot use, does: 'stop' with an
        error that names it; 'skip', left out, of the file or of that task, and counted in the
        summary.
    """

    bad_rows: Literal["stop", "skip"] = "stop"


@dataclasses.dataclass(frozen=True)
class BatchConfig:
    """How much text a step reads.

    Attributes:
      tokens: positions of a step over all input groups, padding included.
      row_length: positions of a packed row, and the longest text that is read whole.
      multiple: of which the rows of every input group are, to be divided among devices.
      ahead: batches made ahead of the step, by a background thread or by each worker.
      workers: processes that make batches; 0 for the thread.
    """

    tokens: int = at_least(1, default=4096)
    row_length: int = at_least(2, default=64)
    multiple: int = at_least(1, default=1)
    ahead: int = at_least(0, default=4)
    workers: int = at_least(0, default=0)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and what surrounds it.

    Attributes:
      learning_rate: the highest of the schedule.
      schedule: after the warm-up: 'cosine' or 'linear' decay to `final_fraction`, or 'constant'.
      warmup_steps: steps of a linear rise from 0.
      final_fraction: the last learning rate as a share of the highest.
      b1: decay of the first moment.
      b2: decay of the second moment.
      weight_decay: decoupled decay, times the learning rate.
      clip_norm: the gradient's global norm is cut to this; 0 for no cut.
      accumulate: steps whose mean gradient makes one update of the parameters.
      average: decay of the moving average of the parameters that is evaluated and kept; 0 for none.
    """

    learning_rate: float = positive(default=4e-3)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_steps: int = at_least(0, default=50)
    final_fraction: float = at_least(0, default=0.05)
    b1: float = fraction(default=0.9)
    b2: float = fraction(default=0.99)
    weight_decay: float = at_least(0, default=0.0)
    clip_norm: float = at_least(0, default=1.0)
    accumulate: int = at_least(1, default=1)
    average: float = fraction(default=0.998)


@dataclasses.dataclass(frozen=True)
class RegularizerConfig:
    """Penalties Omega(w), added to the weighted losses.

    Attributes:
      l2: factor of half the squared norm.
      l2_on: regular expression for the paths it covers, such as 'shared/.*'.
      group_lasso: factor of the group lasso.
      group_lasso_on: regular expression for the paths it covers; a row of a leaf is a group.
    """

    l2: float = at_least(0, default=0.0)
    l2_on: str = "kernel"
    group_lasso: float = at_least(0, default=0.0)
    group_lasso_on: str = "shared/embedding/words"


@dataclasses.dataclass(frozen=True)
class GradientsConfig:
    """How per-task gradients are found, for methods that read them.

    Attributes:
      strategy: 'unrolled', 'vmapped', 'scanned' or 'auto', which agree to rounding;
        'representation', at the encoder's output only; 'lagged' or 'sketched', with the weights of
        the step before, each gradient freed once it is accumulated.
      sketch: numbers that 'sketched' keeps of a gradient.
      telemetry: write Gramian, norms and cosines of the tasks' gradients with the metrics.
    """

    strategy: Literal[
        "auto", "unrolled", "vmapped", "scanned", "representation", "lagged", "sketched"
    ] = "auto"
    sketch: int = at_least(2, default=4096)
    telemetry: bool = False


@dataclasses.dataclass(frozen=True)
class ParallelConfig:
    """How the devices share a step; with one of each axis, one device does all.

    Attributes:
      task: devices along the axis of tasks, whose groups work on different tasks where `placement`
        says so; 0 for what the other axes leave.
      data: devices along the axis of rows; 0 for what the other axes leave.
      model: devices along the axis of words, attention heads and feed-forward features; 0 for what
        the other axes leave.
      strategy: how the step is compiled: 'jit', by XLA from the shardings of its arguments;
        'shard_map' or 'pmap', a program for each device.
      sharding: of parameters and optimizer: 'replicated', or 'fsdp', spread over the devices.
      placement: 'task', groups of devices on different tasks; 'off', all on all tasks; 'auto',
        whichever moves fewer bytes.
      rules: shardings of one's own, 'REGEX=AXES' for the parameters whose path holds the regular
        expression: a mesh axis for each dimension, divided by commas, 'data+model' for two of
        them, '-' for none. The first that fits counts.
    """

    task: int = at_least(-1, default=1)
    data: int = at_least(-1, default=1)
    model: int = at_least(-1, default=1)
    strategy: Literal["jit", "shard_map", "pmap"] = "jit"
    sharding: Literal["replicated", "fsdp"] = "replicated"
    placement: Literal["auto", "off", "task"] = "auto"
    rules: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that defines a run besides its tasks and their data.

    Attributes:
      preset: name of the preset it starts from, of `mtljax.presets.PRESETS`.
      steps: optimization steps, in all.
      epochs: if not 0, passes over the largest input group instead of `steps`.
      seed: of the parameters, the order of the data and the dropout.
      evaluate_every: steps between evaluations on validation, with a checkpoint each.
      log_every: steps between lines of metrics.
      dtype: of the encoder's computation; 'auto' is bfloat16 on accelerators, float32 on CPU.
      weighting: name of the method that weighs the tasks, of `mtljax.weighting.METHODS`.
      weighting_options: its keyword arguments, and those of `mtljax.training.make_method`.
      non_finite: what a NaN or infinite loss or gradient does: 'stop' the run; 'leave_out' that
        task of the step; 'skip' the step.
      tokenizer: how text becomes ids.
      data: how data sets are read.
      batch: how much text a step reads.
      mixture: the rates at which the tasks' data is read.
      encoder: the shared encoder.
      heads: the tasks' heads.
      decoder: those of text to text, where they have layers of their own.
      optimizer: AdamW and what surrounds it.
      regularizer: penalties on the parameters.
      gradients: how those of the tasks are found.
      parallel: how the devices share a step.
    """

    preset: str = "small"
    steps: int = at_least(0, default=2000)
    epochs: float = at_least(0, default=0.0)
    seed: int = bounded(low=0, high=2**32, high_open=True, default=0)
    evaluate_every: int = at_least(1, default=200)
    log_every: int = at_least(1, default=20)
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    weighting: str = "equal"
    weighting_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    non_finite: Literal["stop", "leave_out", "skip"] = "stop"
    tokenizer: TokenizerSettings = TokenizerSettings()
    data: DataConfig = DataConfig()
    batch: BatchConfig = BatchConfig()
    mixture: MixtureSettings = MixtureSettings()
    encoder: EncoderConfig = EncoderConfig()
    heads: HeadsConfig = HeadsConfig()
    decoder: DecoderConfig = DecoderConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    regularizer: RegularizerConfig = RegularizerConfig()
    gradients: GradientsConfig = GradientsConfig()
    parallel: ParallelConfig = ParallelConfig()


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """The fields of a nested configuration by dotted name."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        name = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            found |= flatten(value, f"{name}.")
        else:
            found[name] = value
    return found


def check(config: Config) -> None:
    """Check the ranges of all fields, and that they fit each other.

    Raises:
      UserError: naming the first field that is out of range, and its value.
    """
    check_ranges(config)
    if config.encoder.kind == "transformer" and config.encoder.features % (
        2 * config.encoder.heads
    ):
        raise UserError(
            f"encoder.features: must be a multiple of 2 * encoder.heads ({config.encoder.heads}),"
            f" got {config.encoder.features}"
        )
    width = output_width(config.encoder)
    if config.decoder.layers and width % (2 * config.decoder.heads):
        raise UserError(
            f"decoder.heads: twice as many must divide the encoder's width ({width}), got "
            f"{config.decoder.heads}"
        )
    if config.encoder.kind == "lstm" and config.encoder.features % 2:
        raise UserError(f"encoder.features: must be even, got {config.encoder.features}")
    parallel = config.parallel
    if sum(size < 1 for size in (parallel.task, parallel.data, parallel.model)) > 1:
        raise UserError("parallel: one axis at most can be what the others leave")
    if not config.heads.pooling:
        raise UserError("heads.pooling: name at least one")

"""The configuration of a training run: frozen, nested, plain data.

The docstring of each field is its help on the command line, and its range stands next to its
default; see `mtljax.ranges`. `check` adds what fields must be to fit each other.
"""

import dataclasses
from typing import Any, Literal

from mtljax.data.batching.mixture import MixtureSettings
from mtljax.data.tokenizers import TokenizerSettings
from mtljax.errors import UserError
from mtljax.modules.architecture import DEFAULT, Architecture, head_size
from mtljax.modules.config import (
    DecoderConfig,
    EncoderConfig,
    HeadsConfig,
    SharingConfig,
    output_width,
)
from mtljax.presets.parallel_config import ParallelConfig as ParallelConfig
from mtljax.ranges import at_least, bounded, check_ranges, fraction, positive, size


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """How data sets are read.

    Attributes:
      bad_rows: what to do with a row of a file that is malformed, or that a task cannot use: 'stop'
        with an error that names it, or 'skip' it, in that file or for that task, and count it in
        the summary.
      samples: rows of train that are read of each data set, drawn by the seed, and as many of
        validation at most; 0 for all.
    """

    bad_rows: Literal["stop", "skip"] = "stop"
    samples: int = size(0, default=0, high=2**31 - 1)


@dataclasses.dataclass(frozen=True)
class BatchConfig:
    """The size of a step's batch, and how batches are made.

    Attributes:
      tokens: positions of a step's batch over all input groups, padding included.
      row_length: positions of a row into which texts are packed; longer texts are truncated.
      multiple: the number of rows of every input group is a multiple of this, so that devices can
        share them.
      ahead: batches made ahead of the step that reads them, by a background thread or by each
        worker process.
      workers: processes that make batches; 0 for one background thread.
    """

    tokens: int = size(1, default=4096, high=2**26)
    row_length: int = size(2, default=64)
    multiple: int = size(1, default=1)
    ahead: int = size(0, default=4, high=2**16)
    workers: int = size(0, default=0, high=1024)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """How parameters are found: AdamW, its learning rate, clipping, accumulation and averaging.

    Attributes:
      learning_rate: the highest learning rate of the schedule.
      schedule: the learning rate after the warm-up: 'cosine' or 'linear' decay to `final_fraction`,
        or 'constant'.
      warmup_steps: updates in which the learning rate rises linearly from 0.
      final_fraction: the learning rate of the last update, as a fraction of the highest.
      b1: decay rate of the first moment, per update.
      b2: decay rate of the second moment, per update.
      weight_decay: decoupled weight decay of matrices, multiplied by the learning rate.
      clip_norm: the largest global norm of the gradient, to which larger ones are scaled down; 0
        for no clipping.
      accumulate: steps over which gradients are averaged for one update of the parameters.
      average: decay rate per update of the moving average of the parameters, which is evaluated and
        saved in place of the parameters; 0 for no average.
      warmup_share: the warm-up as a share of all updates; if not 0, it replaces `warmup_steps`.
      rates: factors 'REGEX=FACTOR' of the learning rate of the parameters whose path matches, such
        as '^heads/=10'. The first that matches counts. Stacked layers also have paths with their
        numbers, such as 'layers/0/'.
      layer_decay: factor of the learning rate from one layer to the one below it; heads have the
        full rate, the last layer has this factor of it, and the embedding the smallest.
      frozen: regular expressions that pick parameters by their paths, such as '^shared/embedding/':
        these stay as they are, without gradients.
      unfreeze: updates after which one more layer begins to learn, from the heads down to the
        embedding; 0 for all at once.
      solver: 'adamw', in steps; or all at once, as the optimum of a convex problem, of a linear
        encoder and one answer a text, under a penalty of the weights of each answer: 'ridge', their
        squares; 'together', with a part that all tasks share (Daume 2007); 'relation', with a
        covariance of the tasks that is learned (MTRL); 'groups', few features for all; 'trace', a
        subspace for all.
      penalties: factors of a solver's penalty, of which validation chooses one.
      couplings: by which tasks are held together, over what holds each ('together': the factor of
        each task's own part; 'relation': that of the learned covariance), as `penalties`.
      solver_steps: steps of a solver at most.
    """

    learning_rate: float = positive(default=4e-3)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_steps: int = size(0, default=50, high=2**31 - 1)
    final_fraction: float = at_least(0, default=0.05)
    b1: float = fraction(default=0.9)
    b2: float = fraction(default=0.99)
    weight_decay: float = at_least(0, default=0.0)
    clip_norm: float = at_least(0, default=1.0)
    accumulate: int = size(1, default=1)
    average: float = fraction(default=0.998)
    warmup_share: float = fraction(default=0.0)
    rates: tuple[str, ...] = ()
    layer_decay: float = bounded(low=0, high=1, low_open=True, default=1.0)
    frozen: tuple[str, ...] = ()
    unfreeze: int = size(0, default=0, high=2**31 - 1)
    solver: Literal["adamw", "ridge", "together", "relation", "groups", "trace"] = "adamw"
    penalties: tuple[float, ...] = positive(default=(0.01, 0.03, 0.1, 0.3, 1.0))
    couplings: tuple[float, ...] = positive(default=(3.0, 30.0))
    solver_steps: int = size(1, default=5000, high=2**31 - 1)


@dataclasses.dataclass(frozen=True)
class StoppingConfig:
    """By which score the best checkpoint is chosen, and when a run ends before its last step.

    Attributes:
      patience: evaluations on validation without a better score after which the run ends; 0 to do
        all steps.
      task: the task whose main metric is the score; if empty, it is the mean over all tasks.
      task_patience: evaluations on validation without a better main metric of a task after which
        that task stops while others go on: it has no more part in the loss, and its head stays as
        it is; 0 for never. The run ends when all have stopped.
      keep_each: keep the best checkpoint of every task, by its main metric, besides that of all.
    """

    patience: int = size(0, default=0, high=2**31 - 1)
    task: str = ""
    task_patience: int = size(0, default=0, high=2**31 - 1)
    keep_each: bool = False


@dataclasses.dataclass(frozen=True)
class RegularizerConfig:
    """Penalties on the parameters, added to the weighted loss.

    Attributes:
      l2: factor of half the squared L2 norm.
      l2_on: regular expression that picks parameters for `l2` by their paths, such as 'shared/.*'.
      l1: factor of the sum of absolute values.
      l1_on: regular expression that picks parameters for `l1` by their paths.
      group_lasso: factor of the group lasso, whose groups are the rows of a parameter.
      group_lasso_on: regular expression that picks parameters for `group_lasso` by their paths.
      heads_together: factor of half the squared distance of heads from their mean, summed over the
        heads of all tasks of one kind, loss and classes.
      heads_relation: factor of half the squared trace norm of the heads of all tasks of one kind,
        loss and classes, which learns how they are related (MTRL, Zhang and Yeung 2010);
        `relation` in the summary has the correlations.
      proximal: whether `l1` and `group_lasso` act by a proximal step after each update, which makes
        exact zeros, in place of their gradients.
    """

    l2: float = at_least(0, default=0.0)
    l2_on: str = "kernel"
    l1: float = at_least(0, default=0.0)
    l1_on: str = "kernel"
    group_lasso: float = at_least(0, default=0.0)
    group_lasso_on: str = "shared/embedding/words"
    heads_together: float = at_least(0, default=0.0)
    heads_relation: float = at_least(0, default=0.0)
    proximal: bool = False


@dataclasses.dataclass(frozen=True)
class GradientsConfig:
    """How gradients are computed: per task, for weightings that read them, or of one weighted sum.

    Attributes:
      strategy: exact, and equal up to rounding: 'unrolled', 'vmapped', 'scanned', or 'auto', which
        chooses one of them. Approximate: 'representation', gradients at the encoder's output only;
        'lagged' or 'sketched', stale weights, each per-task gradient freed once accumulated.
      sketch: numbers that 'sketched' keeps of each gradient.
      passes: how input groups are encoded where the gradient of one weighted sum is taken: 'one'
        pass over the rows of all groups; 'by_group', one group after the other; 'auto', by group on
        one CPU device, else one pass.
      telemetry: write the Gramian, norms, cosines and conflicts of the tasks' gradients with the
        metrics.
      telemetry_every: steps from one whose gradients are measured to the next, for weightings that
        do not read them anyway: the steps between cost nothing more.
    """

    strategy: Literal[
        "auto", "unrolled", "vmapped", "scanned", "representation", "lagged", "sketched"
    ] = "auto"
    sketch: int = size(2, default=4096, high=2**30)
    passes: Literal["auto", "one", "by_group"] = "auto"
    telemetry: bool = False
    telemetry_every: int = size(1, default=1, high=2**31 - 1)


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that defines a run, apart from its tasks and their data.

    Attributes:
      preset: name of the preset that the configuration starts from, see
        `mtljax.presets.PRESETS`.
      steps: optimization steps of the whole run.
      epochs: passes over the largest input group; if not 0, they replace `steps`.
      seed: seed of the parameters, the order of the data and dropout.
      evaluate_every: steps between evaluations on validation, each of which saves a checkpoint.
      log_every: steps between lines of training metrics.
      dtype: dtype of the encoder's computation; 'auto' for bfloat16 on accelerators and float32 on
        CPUs.
      weighting: name of the method that weights the tasks, see `mtljax.weighting.METHODS`.
      weighting_options: keyword arguments of the method, and those of
        `mtljax.training.method.make_method`.
      non_finite: what to do at a NaN or infinite loss or gradient: 'stop' the run; 'leave_out' the
        task from this step; 'skip' the step.
      tokenizer: how text becomes token ids.
      data: how data sets are read.
      batch: the size of a step's batch, and how batches are made.
      mixture: the rates at which the tasks' data is read.
      encoder: the shared encoder.
      heads: the tasks' heads.
      decoder: the decoders of text-to-text tasks, if they have layers of their own.
      optimizer: AdamW, its learning rate, clipping, accumulation and averaging.
      sharing: which parameters tasks share besides a whole encoder.
      regularizer: penalties on the parameters.
      gradients: how per-task gradients are computed.
      stopping: by which score the best checkpoint is chosen, and when a run ends early.
      parallel: how devices share a step.
      loss_spikes: what to do at a loss that is far above those of its task before: 'keep' it;
        'stop' the run; 'leave_out' the task from this step; 'skip' the step.
      spike_deviations: how far above the mean of the last losses of the task, about 50, in their
        standard deviations.
    """

    preset: str = "small"
    steps: int = size(0, default=2000, high=2**31 - 1)
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
    sharing: SharingConfig = SharingConfig()
    regularizer: RegularizerConfig = RegularizerConfig()
    gradients: GradientsConfig = GradientsConfig()
    stopping: StoppingConfig = StoppingConfig()
    parallel: ParallelConfig = ParallelConfig()
    loss_spikes: Literal["keep", "stop", "leave_out", "skip"] = "keep"
    spike_deviations: float = positive(default=6.0)


ENCODER_SHAPE = (
    *("kind", "embedding", "features", "layers", "bidirectional", "heads", "feed_forward"),
    *("character_embedding", "character_filters"),
    *("dense", "ngrams", "ngram_buckets", "architecture"),
)
"""Fields of an encoder that decide which parameters it has, and what they mean."""


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return the values of a nested configuration by dotted name, such as 'encoder.layers'."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        name = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def check(config: Config) -> None:
    """Check the ranges of all fields, and that they fit each other.

    Raises:
      UserError: naming the first field that is out of range, and its value.
    """
    check_ranges(config)
    encoder = config.encoder
    if encoder.kind == "transformer":
        _check_transformer(encoder)
    width = output_width(config.encoder)
    if config.decoder.layers:
        _check_decoder(config.decoder, width)
    if config.encoder.kind == "lstm" and config.encoder.features % 2:
        raise UserError(f"encoder.features: must be even, got {config.encoder.features}")
    parallel = config.parallel
    if sum(size < 1 for size in (parallel.task, parallel.data, parallel.model)) > 1:
        raise UserError("parallel: one axis at most can be what the others leave")
    if config.stopping.task_patience and parallel.strategy == "pmap":
        raise UserError("stopping.task_patience: not with parallel.strategy 'pmap'")
    if config.gradients.telemetry_every > 1 and not config.gradients.telemetry:
        raise UserError("gradients.telemetry_every: needs gradients.telemetry")
    if config.heads.from_run and not config.encoder.from_run:
        raise UserError("heads.from_run: needs encoder.from_run")
    if not config.heads.pooling:
        raise UserError("heads.pooling: name at least one")


def _check_decoder(decoder: DecoderConfig, width: int) -> None:
    architecture = decoder.architecture
    if architecture == DEFAULT and width % (2 * decoder.heads):
        raise UserError(
            f"decoder.heads: twice as many must divide the encoder's width ({width}), got "
            f"{decoder.heads}"
        )
    if architecture.positions not in ("rotary", "relative", "none"):
        raise UserError(
            f"decoder.architecture.positions: must be 'rotary', 'relative' or 'none', got "
            f"{architecture.positions!r}"
        )
    for name in _OF_ENCODERS:
        if getattr(architecture, name) != getattr(DEFAULT, name):
            raise UserError(f"decoder.architecture.{name}: a decoder has none")
    _check_buckets("decoder", architecture)
    try:
        head_size(architecture, width, decoder.heads)
    except ValueError as error:
        raise UserError(f"decoder: {error}") from None


_OF_ENCODERS = (
    *("first_norm", "embedding_norm", "embedding_scale", "position_offset", "token_types"),
    *("window", "window_pattern"),
)


def _check_buckets(where: str, architecture: Architecture) -> None:
    buckets = architecture.position_buckets
    if architecture.positions == "relative" and (
        buckets < 4 or buckets % 2 or architecture.max_positions <= buckets // 2
    ):
        raise UserError(
            f"{where}.architecture.position_buckets: relative positions need an even number, at "
            f"least 4, and max_positions above half of it, got {buckets} and "
            f"{architecture.max_positions}"
        )


def _check_transformer(encoder: EncoderConfig) -> None:
    architecture = encoder.architecture
    rotary = architecture.positions == "rotary" and not architecture.head_size
    if rotary and encoder.features % (2 * encoder.heads):
        raise UserError(
            f"encoder.features: must be a multiple of 2 * encoder.heads ({encoder.heads}),"
            f" got {encoder.features}"
        )
    if architecture.positions in ("learned", "disentangled") and not architecture.max_positions:
        raise UserError(
            f"encoder.architecture.max_positions: {architecture.positions} positions need some"
        )
    _check_buckets("encoder", architecture)
    if not architecture.window_pattern:
        raise UserError("encoder.architecture.window_pattern: name at least one")
    try:
        head_size(architecture, encoder.features, encoder.heads)
    except ValueError as error:
        raise UserError(f"encoder: {error}") from None

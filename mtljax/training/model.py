"""From a configuration and the layout of its data to the modules of a model."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.data import DataOptions, Layout, all_causal, attention_by_kind
from mtljax.errors import UserError
from mtljax.kinds import KINDS, Attention
from mtljax.losses import Proposal, unigram_proposal
from mtljax.modules import HeadSpec, Network, build, init
from mtljax.modules.network import Params
from mtljax.presets import Config
from mtljax.tasks import Task, loss_name


@dataclasses.dataclass(frozen=True)
class Model:
    """A network with what its tasks need besides.

    Attributes:
      network: encoder and heads.
      layout: input groups, outputs and shapes of the data.
      tasks: in the order of the losses ``[T]``.
      proposals: for each language model, the distribution its negatives are drawn from.
      negatives: classes drawn a step; 0 for the full softmax.
    """

    network: Network
    layout: Layout
    tasks: tuple[Task, ...]
    proposals: Mapping[str, Proposal]
    negatives: int


def attention_of(config: Config, tasks: tuple[Task, ...]) -> Callable[[Task], Attention]:
    """How the encoder of a configuration reads the inputs of each task.

    A transformer has a mask of its own for every input group, for text to text that of a prefix
    language model. A recurrent encoder is causal for all tasks as soon as one of them needs it, so
    that they can share a pass. Where decoders write, the encoder reads the sources alone.

    Raises:
      UserError: if a recurrent encoder is to read both ways and has to write text itself.
    """
    kind, wanted = config.encoder.kind, config.encoder.bidirectional
    decoders = config.decoder.layers > 0
    models = [
        task
        for task in tasks
        if KINDS[task.kind].writes and not (decoders and KINDS[task.kind].writes == "answer")
    ]
    if kind == "lstm" and wanted == "yes" and models:
        raise UserError(
            f"encoder.bidirectional: must be 'auto' or 'no' for the "
            f"{models[0].kind.replace('_', ' ')} {models[0].name!r}"
        )
    one_way = kind == "lstm" and (wanted == "no" or (wanted == "auto" and bool(models)))

    def attention(task: Task) -> Attention:
        if KINDS[task.kind].writes == "answer" and (decoders or kind == "transformer"):
            return "separate" if decoders else "prefix"
        return (all_causal if one_way else attention_by_kind)(task)

    return attention


def data_options(config: Config, tasks: tuple[Task, ...]) -> DataOptions:
    """How the data of a configuration are read and batched.

    Raises:
      UserError: as `attention_of`.
    """
    return DataOptions(
        row_length=config.batch.row_length,
        batch_tokens=config.batch.tokens,
        row_multiple=config.batch.multiple,
        attention=attention_of(config, tasks),
        mixture=config.mixture,
        bad_rows=config.data.bad_rows,
    )


def build_model(
    config: Config, layout: Layout, class_counts: Mapping[str, np.ndarray] | None = None
) -> Model:
    """Build the model of a configuration.

    Args:
      config: the configuration.
      layout: of the data.
      class_counts: for each language model, how often each class occurs in training; only needed
        to train.

    Returns:
      A `Model`.
    """
    counts = class_counts or {}
    tasks = layout.tasks
    specs = {}
    for task in tasks:
        kind, output = KINDS[task.kind], layout.outputs[task.name]
        specs[task.name] = HeadSpec(
            head=kind.head,
            outputs=kind.head_outputs(loss_name(task), output.num_classes),
            group=layout.group_of(task.name).name,
            output_ids=output.ids,
            class_counts=counts.get(task.name),
        )
    network = build(
        config.encoder,
        config.heads,
        specs,
        attention={group.name: group.attention for group in layout.groups},
        vocabulary_size=layout.vocab_size,
        affix_buckets=layout.affix_buckets + 1 if layout.affix_buckets else 0,
        dtype=compute_dtype(config),
        decoder=config.decoder,
    )
    proposals = {
        name: unigram_proposal(count, config.heads.negatives_power)
        for name, count in counts.items()
        if 0 < config.heads.negatives < len(count)
    }
    return Model(network, layout, tasks, proposals, config.heads.negatives)


def initial_params(model: Model) -> Params:
    """The parameters of a model before training, drawn with key 0; under `jax.eval_shape`, shapes.

    The first state of a training run is drawn by `mtljax.training.make_step`.
    """
    batches: dict[str, dict[str, np.ndarray]] = {}
    for name, shape in model.layout.shapes.items():
        size = (1, shape.row_length)
        rows = {key: np.zeros(size, np.int32) for key in ("tokens", "segments", "positions")}
        affixes = np.zeros((*size, shape.affixes), np.int32)
        batches[name] = {**rows, "affixes": affixes} if shape.affixes else rows
    return init(model.network, jax.random.key(0), batches)


def compute_dtype(config: Config) -> jnp.dtype:
    """The dtype of the encoder's computation on the device at hand."""
    if config.dtype == "auto":
        return jnp.dtype(jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16)
    return jnp.dtype(config.dtype)

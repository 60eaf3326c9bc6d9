"""The model of a configuration: its network, and what its tasks read and draw from."""

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
from mtljax.modules.structures import has_private
from mtljax.presets import Config
from mtljax.tasks import Task, check_shared_heads, loss_name, tasks_by_head


@dataclasses.dataclass(frozen=True)
class Model:
    """A network, and what the losses of its tasks need besides.

    Attributes:
      network: the encoder and the heads.
      layout: the input groups, outputs and shapes of the data.
      tasks: the T tasks, in the order of the losses ``[T]``.
      proposals: for each language model with sampled negatives, the distribution of these.
      negatives: the number of classes that are sampled in a step; 0 for the full softmax.
    """

    network: Network
    layout: Layout
    tasks: tuple[Task, ...]
    proposals: Mapping[str, Proposal]
    negatives: int


def attention_of(config: Config, tasks: tuple[Task, ...]) -> Callable[[Task], Attention]:
    """How the encoder of a configuration reads the inputs of each task.

    A transformer has its own mask for every input group, for text to text that of a prefix language
    model. A recurrent encoder is causal for all tasks as soon as one of them needs it, so that they
    can share a pass. Where a decoder writes the answers, the encoder reads the sources alone.

    Args:
      config: the configuration.
      tasks: all tasks of the run.

    Returns:
      A function from a task to its attention.

    Raises:
      UserError: a recurrent encoder should be bidirectional, and has to write text itself.
    """
    kind, bidirectional = config.encoder.kind, config.encoder.bidirectional
    decoders = config.decoder.layers > 0
    writers = [
        task
        for task in tasks
        if KINDS[task.kind].writes and not (decoders and KINDS[task.kind].writes == "answer")
    ]
    if kind == "lstm" and bidirectional == "yes" and writers:
        raise UserError(
            f"encoder.bidirectional: must be 'auto' or 'no' for the "
            f"{writers[0].kind.replace('_', ' ')} {writers[0].name!r}"
        )
    one_direction = bidirectional == "no" or (bidirectional == "auto" and bool(writers))
    causal = kind == "lstm" and one_direction

    def attention(task: Task) -> Attention:
        if KINDS[task.kind].writes == "answer" and (decoders or kind == "transformer"):
            return "separate" if decoders else "prefix"
        return (all_causal if causal else attention_by_kind)(task)

    return attention


def data_options(config: Config, tasks: tuple[Task, ...]) -> DataOptions:
    """How the data of a configuration are read and batched.

    Args:
      config: the configuration.
      tasks: all tasks of the run.

    Returns:
      The options of `mtljax.data.load_data`.

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
        apart=has_private(config.sharing),
        samples=config.data.samples,
        seed=config.seed,
    )


def build_model(
    config: Config, layout: Layout, class_counts: Mapping[str, np.ndarray] | None = None
) -> Model:
    """Build the model of a configuration, without parameters.

    Args:
      config: the configuration.
      layout: the layout of the data.
      class_counts: for each language model, how often each class occurs in training, ``[V]``
        integers; only needed to train.

    Returns:
      A `Model`.

    Raises:
      UserError: tasks with one head predict different things, or the encoder cannot have the
        structure of sharing.
    """
    counts = class_counts or {}
    tasks = layout.tasks
    specs = {}
    check_shared_heads(tasks, {name: output.classes for name, output in layout.outputs.items()})
    for task in tasks:
        kind, output = KINDS[task.kind], layout.outputs[task.name]
        specs[task.name] = HeadSpec(
            head=kind.head,
            outputs=kind.head_outputs(loss_name(task), output.num_classes),
            group=layout.group_of(task.name).name,
            output_ids=output.ids,
            class_counts=counts.get(task.name),
            shared=task.head or "",
            own=task.head is None or task.own_head,
            loss=loss_name(task),
            constrained=task.constrained,
        )
    try:
        network = build(
            config.encoder,
            config.heads,
            specs,
            attention={group.name: group.attention for group in layout.groups},
            vocabulary_size=layout.vocab_size,
            affix_buckets=layout.affix_buckets + 1 if layout.affix_buckets else 0,
            characters=layout.characters,
            dtype=compute_dtype(config),
            decoder=config.decoder,
            marks=layout.marks,
            sharing=config.sharing,
        )
    except ValueError as error:
        if config.sharing.structure == "hard":
            raise
        raise UserError(f"sharing.{error}") from None
    for name, sharing in tasks_by_head(tasks).items():
        for task in sharing[1:]:
            if network.heads[task.name] != network.heads[sharing[0].name]:
                raise UserError(
                    f"head {name!r}: tasks {sharing[0].name!r} and {task.name!r} are read under "
                    "other masks, for which their heads differ"
                )
    proposals = {
        name: unigram_proposal(count, config.heads.negatives_power)
        for name, count in counts.items()
        if 0 < config.heads.negatives < len(count)
    }
    return Model(network, layout, tasks, proposals, config.heads.negatives)


def initial_params(model: Model) -> Params:
    """The parameters of a model before training, drawn with key 0; under `jax.eval_shape`, shapes.

    Not those that a run starts from: `mtljax.training.make_step` draws these with the run's seed.

    Args:
      model: the model.

    Returns:
      A tree of ``shared`` parameters, and of ``heads`` by task.
    """
    batches: dict[str, dict[str, np.ndarray]] = {}
    # One empty row of each input group: shapes of parameters do not depend on the batch size.
    for name, shape in model.layout.shapes.items():
        size = (1, shape.row_length)
        rows = {key: np.zeros(size, np.int32) for key in ("tokens", "segments", "positions")}
        affixes = np.zeros((*size, shape.affixes), np.int32)
        batches[name] = {**rows, "affixes": affixes} if shape.affixes else rows
    return init(model.network, jax.random.key(0), batches)


def compute_dtype(config: Config) -> jnp.dtype:
    """The dtype in which the encoder computes on the default device.

    Args:
      config: a configuration; ``auto`` is float32 on a CPU and bfloat16 elsewhere.
    """
    if config.dtype == "auto":
        return jnp.dtype(jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16)
    return jnp.dtype(config.dtype)

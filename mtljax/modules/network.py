"""One encoder and a head for each task, as plain functions over a parameter tree.

Parameters are ``{"shared": ..., "heads": {task: ...}}``: all tasks train the shared ones, each its
own head. Heads that tasks have together are among the shared ones, see `shared_heads`. With a
structure that gives each task more of its own there is a third part, ``{"private": {task: ...}}``.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mtljax.modules.attention_mask import AttentionByRow
from mtljax.modules.config import (
    Attention,
    DecoderConfig,
    EncoderConfig,
    HeadsConfig,
    SharingConfig,
    output_width,
)
from mtljax.modules.decoder import DecoderHead
from mtljax.modules.encoder import Encoder
from mtljax.modules.heads import Features, Readout, TagScores
from mtljax.modules.parameter_shapes import encoder_parameters
from mtljax.modules.shared_heads import (
    encoder_params,
    heads_named,
    shared_heads,
    with_shared_heads,
)
from mtljax.modules.structures import (
    PRIVATE,
    SHARING,
    Run,
    check_apart,
    check_structure,
    draw,
    draw_in_head,
    encoder_variables,
    has_private,
    mixed,
    packed,
    structure_of,
    with_private,
)
from mtljax.modules.task_heads import HeadSettings
from mtljax.special_tokens import OWN_MARKS, Marks

Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class HeadSpec:
    """What a task wants of its head.

    Attributes:
      head: from the settings of the head to its module, such as `mtljax.modules.segment_head`.
      outputs: number of predictions: classes, 1 for a single logit or a number.
      group: the input group whose features it reads.
      output_ids: for a task that writes text, the word id of each class.
      class_counts: for such a task, how often each class occurs in training.
      shared: the name of the head that it has together with other tasks; empty for none.
      own: whether it has a head of its own; with a shared one the predictions are added.
      loss: name of the loss that it is trained with.
      constrained: whether its tags are the best sequence that their scheme allows.
    """

    head: Callable[[HeadSettings], nn.Module]
    outputs: int
    group: str
    output_ids: np.ndarray | None = None
    class_counts: np.ndarray | None = None
    shared: str = ""
    own: bool = True
    loss: str = ""
    constrained: bool = False


@dataclasses.dataclass(frozen=True)
class Network:
    """The modules of a model and how they are wired.

    Attributes:
      encoder: the shared encoder.
      heads: a module for each task.
      specs: what each task wanted of it.
      attention: for each input group, what positions see of each other.
      sharing: what tasks share.
    """

    encoder: Encoder
    heads: Mapping[str, nn.Module]
    specs: Mapping[str, HeadSpec]
    attention: Mapping[str, Attention]
    sharing: SharingConfig = SharingConfig()


def build(
    encoder: EncoderConfig,
    heads: HeadsConfig,
    specs: Mapping[str, HeadSpec],
    attention: Mapping[str, Attention],
    vocabulary_size: int,
    affix_buckets: int = 0,
    dtype: Any = jnp.float32,
    decoder: DecoderConfig = DecoderConfig(),  # noqa: B008 - immutable
    marks: Marks = OWN_MARKS,
    sharing: SharingConfig = SharingConfig(),  # noqa: B008 - immutable
    characters: int = 0,
) -> Network:
    """Wire an encoder to the heads of some tasks.

    Args:
      encoder: its shape.
      heads: shape of the heads.
      specs: what each task wants.
      attention: for each input group, what positions see of each other; one that is read as
        ``separate`` texts has tasks of text to text alone, with a decoder each.
      vocabulary_size: number of token ids.
      affix_buckets: number of affix ids besides 0; 0 for none.
      dtype: dtype of the encoder's computation; parameters and heads' outputs are float32.
      decoder: shape of the decoders.
      marks: the special ids of the vocabulary.
      sharing: what tasks share.
      characters: of each word that the encoder reads; 0 for none.

    Returns:
      A `Network`; nothing is computed yet.

    Raises:
      ValueError: if the group of a language model is not causal, or the encoder cannot have the
        structure of `sharing`, or several tasks of one input group have private parameters.
    """
    two_ways = encoder.kind == "lstm" and bidirectional(encoder, attention)
    modules: dict[str, nn.Module] = {}
    for name, spec in specs.items():
        both_ways = encoder.kind == "transformer" and attention[spec.group] == "bidirectional"
        settings = HeadSettings(
            task=name,
            outputs=spec.outputs,
            encoder=encoder,
            heads=heads,
            decoder=decoder,
            attention=attention[spec.group],
            sees_following=two_ways or both_ways,
            dtype=dtype,
            loss=spec.loss,
            constrained=spec.constrained,
        )
        modules[name] = spec.head(settings)
    module = Encoder(
        encoder, vocabulary_size, affix_buckets, two_ways, dtype, marks=marks, characters=characters
    )
    if sharing.structure != "hard":
        shapes, _ = encoder_parameters(module, next(iter(attention.values())))
        writers = [name for name, spec in specs.items() if spec.output_ids is not None]
        check_structure(sharing, encoder, shapes, decoder.layers, writers)
        check_apart(sharing, {name: spec.group for name, spec in specs.items()})
    return Network(module, modules, specs, attention, sharing)


def bidirectional(encoder: EncoderConfig, attention: Mapping[str, Attention]) -> bool:
    """Whether an LSTM of this configuration reads in both directions for these input groups."""
    if encoder.bidirectional == "auto":
        return not {"causal", "prefix"} & set(attention.values())
    return encoder.bidirectional == "yes"


def init(network: Network, key: jax.Array, batches: Mapping[str, Mapping[str, Any]]) -> Params:
    """Draw the parameters.

    A language model's bias starts at the log frequencies of its classes, where training would
    bring it in its first hundreds of steps.

    Args:
      network: from `build`.
      key: a random key.
      batches: a batch for each input group (its shapes matter, not its values).

    Returns:
      ``{"shared": ..., "heads": {task: ...}}``, float32.
    """
    encoder_key, *head_keys = jax.random.split(key, 1 + len(network.heads))
    group, batch = next(iter(batches.items()))
    variables: Any = network.encoder.init(
        {"params": encoder_key}, batch, attention=network.attention[group], train=False
    )
    shared: Params = dict(nn.unbox(variables["params"]))
    private: Params = {}
    if network.sharing.structure != "hard":
        # A key besides those that are split, which stay what they are without a structure.
        structure_key = jax.random.fold_in(key, len(network.heads) + 1)
        shared, private = draw(
            network.sharing, network.encoder.config, shared, list(network.heads), structure_key
        )
    heads: dict[str, Params] = {}
    together: dict[str, Params] = {}
    for (name, module), head_key in zip(network.heads.items(), head_keys, strict=True):
        spec = network.specs[name]
        read = shared_and_private(network, {"shared": shared, PRIVATE: private}, spec.group)
        features = _encode(network, read, spec.group, batches[spec.group])
        width, own_key = output_width(network.encoder.config), jax.random.fold_in(head_key, 2)
        own = draw_in_head(network.sharing, list(network.specs), name, width, own_key)
        features, _ = mixed(network.sharing, features, own, list(network.specs), name)

        def drawn(key: jax.Array, module=module, features=features, spec=spec) -> Params:
            arguments = _arguments(spec, segment_count=1)
            variables = module.init({"params": key}, features, *arguments, train=False)
            return dict(nn.unbox(variables.get("params", {})))

        heads[name] = drawn(head_key) if spec.own else {}
        if spec.shared and spec.shared not in together:
            together[spec.shared] = drawn(jax.random.fold_in(head_key, 1))
        if spec.class_counts is not None:
            counts = jnp.asarray(spec.class_counts, jnp.float32) + 1.0
            head = heads[name]
            readout = head.get("readout", {}) if isinstance(module, DecoderHead) else head
            if "bias" in readout:
                readout["bias"] = jnp.log(counts / counts.sum())
        heads[name] |= own
    shared = with_shared_heads(shared, together)
    return {"shared": shared, **({PRIVATE: private} if private else {}), "heads": heads}


def shared_and_private(network: Network, params: Mapping[str, Any], group: str) -> Params:
    """What `encode` reads for an input group: shared parameters, and those of its task alone.

    Args:
      network: from `build`.
      params: from `init`.
      group: name of the input group.
    """
    if not has_private(network.sharing):
        return params["shared"]
    (task,) = (name for name, spec in network.specs.items() if spec.group == group)
    return with_private(params["shared"], params[PRIVATE][task])


TASK_HEAD = "task_head"
"""The logical axis of every dimension of a head's parameters, whatever its layers are."""


def logical_axes(network: Network, params: Params) -> Any:
    """The names of the dimensions of every parameter, for `mtljax.parallel.parameter_specs`.

    Args:
      network: from `build`.
      params: its parameters, or their shapes.

    Returns:
      A tree like `params` of tuples of names; None for a parameter that was made without any.
    """
    attention = next(iter(network.attention.values()))
    _, axes = encoder_parameters(network.encoder, attention)
    names = dict(jax.tree_util.tree_leaves_with_path(axes, is_leaf=lambda x: isinstance(x, tuple)))

    def whole(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: (TASK_HEAD,) * len(leaf.shape), tree)

    shared = params["shared"]
    encoder = jax.tree_util.tree_map_with_path(
        lambda path, _: names.get(path),
        {name: part for name, part in encoder_params(shared).items() if name != SHARING},
    )
    if SHARING in shared:
        encoder[SHARING] = whole(shared[SHARING])
    others = {name: whole(part) for name, part in params.items() if name != "shared"}
    return {"shared": with_shared_heads(encoder, whole(shared_heads(shared))), **others}


def encode(
    network: Network,
    shared: Params,
    group: str,
    batch: Mapping[str, Any],
    key: jax.Array | None = None,
) -> Features:
    """Encode the rows of one input group.

    Args:
      network: from `build`.
      shared: ``params["shared"]``, or `shared_and_private`.
      group: name of the input group.
      batch: its ``tokens``, ``segments``, ``positions`` (and ``affixes``, ``rows``).
      key: of the dropout; None for none, as in evaluation.

    Returns:
      `Features`, ``hidden`` is ``[R, S, D]``, with the shared heads of the group's tasks.
    """
    features = _encode(network, shared, group, batch, key)
    return features._replace(heads=heads_named(shared, group_heads(network, group)))


def _encode(
    network: Network,
    shared: Params,
    group: str,
    batch: Mapping[str, Any],
    key: jax.Array | None = None,
) -> Features:
    return apply_encoder(network, shared, batch, network.attention[group], key)


def group_heads(network: Network, group: str) -> tuple[str, ...]:
    """The names of the heads that tasks of an input group have together with others, sorted."""
    names = {spec.shared for spec in network.specs.values() if spec.group == group and spec.shared}
    return tuple(sorted(names))


def apply_encoder(
    network: Network,
    shared: Params,
    batch: Mapping[str, Any],
    attention: Attention | AttentionByRow,
    key: jax.Array | None,
) -> Features:
    """Encode rows, of which `attention` says what positions see of each other; see `encode`."""
    options: Any = {
        "train": key is not None,
        "rngs": {} if key is None else {"dropout": key},
    }

    def embed(variables: Any) -> Any:
        return network.encoder.apply(variables, batch, method="embed_rows", **options)

    def encode(variables: Any, embedded: Any) -> Any:
        return network.encoder.apply(
            variables, batch, attention=attention, embedded=embedded, **options
        )

    variables = encoder_variables(network.sharing, encoder_params(shared))
    run = structure_of(network.sharing).run
    features = encode(variables, None) if run is None else run(Run(embed, encode), variables)
    return packed(network.sharing, shared, features)


def predict(
    network: Network,
    head: Params,
    task: str,
    features: Features,
    segment_count: int,
    key: jax.Array | None = None,
) -> jax.Array | TagScores | Readout:
    """Apply one task's head.

    Args:
      network: from `build`.
      head: ``params["heads"][task]``; empty where the task has only a head that others have too.
      task: its name.
      features: from `encode`, of the task's input group.
      segment_count: texts a row holds at most (``N``), for heads with one prediction a text.
      key: of the dropout; None for none.

    Returns:
      ``[R, N, outputs]`` of a `SegmentHead`, ``[R, S, outputs]`` of a `TokenHead`, or `TagScores`
      of one whose tags are chosen text by text, a `Readout` of a head that writes text.
    """
    spec = network.specs[task]
    shared, features = features.heads, features._replace(heads=None)
    features, head = mixed(network.sharing, features, head, list(network.specs), task)

    def of(params: Params) -> Any:
        return network.heads[task].apply(
            {"params": params},
            features,
            *_arguments(spec, segment_count),
            train=key is not None,
            rngs={} if key is None else {"dropout": key},
        )

    if not spec.shared:
        return of(head)
    together = of(shared[spec.shared])
    if not spec.own:
        return together
    own = of(head)
    return together.plus(own) if isinstance(together, TagScores) else together + own


def _arguments(spec: HeadSpec, segment_count: int) -> tuple[Any, ...]:
    """What a head is called with besides the features."""
    if spec.output_ids is None:
        return (segment_count,)
    return (jnp.asarray(spec.output_ids, jnp.int32),)

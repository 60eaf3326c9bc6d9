"""A run that starts from a pretrained encoder: its configuration, checks and first parameters."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.data import Layout
from mtljax.data.tokenizers import TokenizerSettings
from mtljax.errors import UserError
from mtljax.kinds import KINDS
from mtljax.modules import with_private
from mtljax.modules.config import DecoderConfig, EncoderConfig
from mtljax.modules.shared_heads import SHARED_HEADS, encoder_params
from mtljax.modules.structures import PRIVATE, structure_of, whole_encoder
from mtljax.presets import Config
from mtljax.pretrained.decoder import read_decoder
from mtljax.pretrained.load import PretrainedFiles, open_source, read_parameters, read_shape
from mtljax.step.state import TrainState
from mtljax.training.persistence import run_directory

_DECODER_SHAPE = ("layers", "heads", "feed_forward", "readout", "architecture")
"""Fields of the decoder that one which has a decoder decides."""

_SHAPE = ("kind", "embedding", "features", "layers", "heads", "feed_forward", "architecture")
"""Fields of the encoder that a pretrained model decides."""

_HEAD = re.compile(rf"(heads|shared/{SHARED_HEADS})/[^/]+")
"""The path of a head."""


def resolved(config: Config, run: Path | None = None) -> Config:
    """The configuration with the shape and the tokenizer of its pretrained model, if it names one.

    Args:
      config: the configuration.
      run: a run directory. If it holds a run of the same pretrained model, what it says of that is
        taken, and the model need not be there any more.

    Raises:
      UserError: if the model is of no known kind, or its configuration cannot be read.
    """
    directory = config.encoder.pretrained
    if not directory:
        return config
    if config.encoder.from_run:
        raise UserError("encoder.pretrained and encoder.from_run: name one of them")
    if run is not None and run_directory.holds_run(run):
        begun = run_directory.read_config(run)
        if begun.encoder.pretrained == directory:
            return _with_shape(config, begun.encoder, begun.decoder, begun.tokenizer)
    shape = read_shape(directory)
    tokenizer = TokenizerSettings(kind="pretrained", file=directory)
    return _with_shape(config, shape.encoder, shape.decoder, tokenizer)


def _with_shape(
    config: Config,
    encoder: EncoderConfig,
    decoder: DecoderConfig | None,
    tokenizer: TokenizerSettings,
) -> Config:
    shape = {name: getattr(encoder, name) for name in _SHAPE}
    config = dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, **shape))
    if decoder is not None:
        shape = {name: getattr(decoder, name) for name in _DECODER_SHAPE}
        decoder = dataclasses.replace(config.decoder, **shape)
        config = dataclasses.replace(config, decoder=decoder)
    return dataclasses.replace(config, tokenizer=tokenizer)


def check_pretrained(config: Config) -> None:
    """Check that a run can start from its pretrained model: all tensors are there.

    Raises:
      UserError: naming the tensor or file.
    """
    if config.encoder.pretrained:
        _open(config)


def check_positions(config: Config, layout: Layout) -> None:
    """Check that no text is longer than the positions that a transformer has learned.

    And that none is written by one that reads whole rows alone, or from no mark.

    Raises:
      UserError: naming the input group or the task.
    """
    architecture = config.encoder.architecture
    for task in layout.tasks:
        if KINDS[task.kind].writes == "continuation" and not layout.marks.prefix:
            raise UserError(
                f"task {task.name!r}: texts of {config.tokenizer.file} begin with no mark, so that "
                f"nothing could follow it; a {task.kind.replace('_', ' ')} needs another tokenizer"
            )
    if config.encoder.kind == "transformer" and architecture.positions == "disentangled":
        for task in layout.tasks:
            if KINDS[task.kind].writes and not config.decoder.layers:
                raise UserError(
                    f"task {task.name!r}: an encoder with disentangled positions writes no text; "
                    "--decoder.layers has a decoder write it"
                )
    if config.encoder.kind != "transformer" or architecture.positions != "learned":
        return
    most = architecture.max_positions - architecture.position_offset
    for group in layout.groups:
        length = layout.shapes[group.name].row_length
        length = min(length, group.max_length or length)
        if length > most:
            raise UserError(
                f"batch.row_length: input group {group.name!r} reads texts of up to {length}, and "
                f"the encoder has {most} positions; max_length of its tasks makes them shorter"
            )


def _open(config: Config) -> PretrainedFiles:
    source = open_source(Path(config.encoder.pretrained))
    if "pooler" in config.heads.pooling and not source.matched.pooler:
        raise UserError(f"heads.pooling 'pooler': {config.encoder.pretrained} has none")
    return source


def start_from_pretrained(
    config: Config, layout: Layout, state: TrainState, say: Callable[[str], None]
) -> TrainState:
    """The first state of a run with the parameters of its pretrained model, on the same devices.

    Args:
      config: the configuration, `resolved`.
      layout: of the data.
      state: as drawn.
      say: is called with one line on what was read.

    Raises:
      UserError: as `mtljax.pretrained.load`.
    """
    if not config.encoder.pretrained:
        return state
    source = _open(config)
    read, pooler = read_parameters(source, _leaves(_whole_encoder(config, state.params)))
    params = state.params
    if structure_of(config.sharing).divide is not None:
        params, read = _divided(config, params, read), {}
    params = _replaced(params, read, pooler)
    if source.shape.causal and source.shape.tied:
        params = {**params, "heads": jax.tree.map(_as_read_out, params["heads"], is_leaf=_writes)}
    if source.matched.decoder:
        heads = dict(params["heads"])
        for task in layout.tasks:
            if KINDS[task.kind].writes == "answer":
                ids = layout.outputs[task.name].ids
                heads[task.name] = _as_decoder(source, heads[task.name], ids)
        params = {**params, "heads": heads}
    say(f"{config.encoder.pretrained}: {source.matched.report.summary()}")
    average = state.average
    if average is not None:
        average = jax.tree.map(
            lambda new, old: jax.device_put(jnp.copy(new), old.sharding), params, average
        )
    return state._replace(params=params, average=average)


def _whole_encoder(config: Config, params: Any) -> Any:
    """The parameters of the encoder, that of the first task if it is divided among them."""
    shared = encoder_params(params["shared"])
    if PRIVATE in params:
        shared = with_private(shared, next(iter(params[PRIVATE].values())))
    return whole_encoder(config.sharing, shared)


def _divided(config: Config, params: Any, read: Mapping[str, jax.Array]) -> Any:
    """Parameters of which every task's part of the encoder begins as what was read."""
    whole = jax.tree_util.tree_map_with_path(
        lambda path, leaf: read.get(_name(path), leaf), _whole_encoder(config, params)
    )
    divide = structure_of(config.sharing).divide
    assert divide is not None
    shared, private = divide(config.sharing, config.encoder, whole, list(params["heads"]))
    new = {"shared": {**params["shared"], **shared}, **({PRIVATE: private} if private else {})}
    old = {name: params[name] for name in new}
    return params | jax.tree.map(lambda x, leaf: jax.device_put(x, leaf.sharding), new, old)


def _writes(head: Any) -> bool:
    """Whether a tree is a head that writes words by the table of the encoder."""
    return isinstance(head, dict) and {"project", "bias"} <= head.keys()


def _as_read_out(head: Any) -> Any:
    """Such a head that begins as the model reads out its words: hidden states as they are."""
    if not _writes(head):
        return head
    kernel = head["project"]["kernel"]
    if kernel.shape[0] != kernel.shape[1]:
        return head
    same = jax.device_put(jnp.eye(len(kernel), dtype=kernel.dtype), kernel.sharding)
    bias = jax.device_put(jnp.zeros_like(head["bias"]), head["bias"].sharding)
    return {**head, "project": {**head["project"], "kernel": same}, "bias": bias}


def _as_decoder(source: PretrainedFiles, head: Any, ids: Any) -> Any:
    """The head of a task of text to text that begins as the decoder of the model."""
    read = read_decoder(source.checkpoint, source.matched, _leaves(head), ids)
    return jax.tree_util.tree_map_with_path(lambda path, _: read[_name(path)], head)


def _replaced(params: Any, read: Mapping[str, jax.Array], pooler: Mapping[str, jax.Array]) -> Any:
    def value(path: Any, leaf: jax.Array) -> jax.Array:
        name = _name(path)
        found = read.get(name.removeprefix("shared/")) if name.startswith("shared/") else None
        # Each head trains a pooler of its own, all from the one that was read.
        part, _, last = name.rpartition("/pooler/")
        if pooler and _HEAD.fullmatch(part):
            # A copy: the state is donated, and no two of its arrays may be one.
            found = jnp.copy(pooler[last])
        return leaf if found is None else jax.device_put(found, leaf.sharding)

    return jax.tree_util.tree_map_with_path(value, params)


def _leaves(tree: Any) -> dict[str, Any]:
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")

"""An encoder that reads its text token by token, and remembers what it has read.

Prompts stand at the right edge of their rows, so that what follows has the same column in all of
them; what stands before a prompt is padding and seen by nothing.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtljax.modules.beam_cache import branched, own_lines, seen_branches
from mtljax.modules.encoder import make_body, make_embedding
from mtljax.modules.heads import Features
from mtljax.modules.keys_values import KeysValues, keys_values
from mtljax.modules.linear import LinearEncoder
from mtljax.modules.lstm import LSTMEncoder
from mtljax.modules.lstm import read_one as read_with_lstm
from mtljax.modules.network import Network, Params
from mtljax.modules.transformer import TransformerEncoder, unstacked
from mtljax.modules.transformer import read_one as read_with_transformer


class Past(NamedTuple):
    """What an encoder keeps of each row; the leading axis of all are the rows.

    Attributes:
      layers: by layer its `KeysValues` or `Branches` (transformer) or `LSTMState`; for the linear
        encoder the last tokens and which of them there are, ``[R, n]`` both.
      starts: int32 ``[R]``, the column of a row's first token.
      width: int32 ``[R]``, columns that the prompts took.
      lines: int32 ``[P, K, C]``, of a transformer that branches, whose rows are K branches of each
        of P prompts: the branch whose column each of them sees. Its layers are `Branches`.
    """

    layers: Any
    starts: jax.Array
    width: jax.Array
    lines: jax.Array | None = None


def prepare(network: Network, shared: Params) -> Params:
    """The shared parameters as `advance` wants them.

    Layers of a transformer are taken apart, kernels are of the dtype of the computation. To be done
    once, not for every token.
    """
    encoder = network.encoder
    found = {**shared}
    if encoder.config.kind == "transformer":
        own = shared["transformer"]
        layers = unstacked(own["layers"], encoder.config.layers)
        found["transformer"] = {**own, "layers": layers}
    for name in ("transformer", "lstm", "dense"):
        if name in found:
            found[name] = with_kernels(found[name], encoder.dtype)
    return found


def with_kernels(params: Any, dtype: DTypeLike) -> Any:
    """Parameters whose kernels have the dtype of the computation."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf.astype(dtype) if _is_kernel(path) else leaf, params
    )


def _is_kernel(path: Any) -> bool:
    name = jax.tree_util.keystr(path[-1:], simple=True)
    return name == "kernel" or name.endswith("recurrent")


def begin(
    network: Network, shared: Params, group: str, batch: Mapping[str, Any], room: int
) -> tuple[Features, Past]:
    """Read some prompts.

    Args:
      network: from `mtljax.modules.build`.
      shared: ``params["shared"]``, as they are.
      group: name of an input group.
      batch: its ``tokens``, ``segments``, ``positions`` (and ``affixes``) ``[R, L]``: one text a
        row, segment 1, at the right edge; segment 0 before it.
      room: tokens that will follow at most.

    Returns:
      `Features` of the prompts, and what to go on from.
    """
    encoder = network.encoder
    if encoder.config.kind == "lstm" and encoder.bidirectional:
        raise ValueError("a bidirectional LSTM cannot read token by token")
    features: Any
    kept: Any
    features, kept = encoder.apply(
        {"params": shared},
        batch,
        attention=network.attention[group],
        train=False,
        mutable=["cache"],
    )
    rows, width = batch["tokens"].shape
    count = encoder.config.layers
    match encoder.config.kind:
        case "transformer":
            stacked = kept["cache"]["transformer"]["layers"]["past"]
            layers = tuple(
                _with_room(own.keys, own.values, room) for own in unstacked(stacked, count)
            )
        case "lstm":
            layers = tuple(kept["cache"]["lstm"][f"layer_{i}"] for i in range(count))
        case "linear":
            last = -encoder.config.ngrams
            layers = tuple(
                jnp.pad(jnp.asarray(batch[name], jnp.int32), ((0, 0), (-last, 0)))[:, last:]
                for name in ("tokens", "segments")
            )
    starts = width - jnp.asarray(batch["segments"], jnp.int32).sum(1)
    return features, Past(layers, starts, jnp.full(rows, width))


def advance(
    network: Network,
    prepared: Params,
    past: Past,
    tokens: jax.Array,
    affixes: jax.Array | None,
    count: jax.Array,
) -> tuple[Features, Past]:
    """Read one more token a row.

    Args:
      network: from `mtljax.modules.build`.
      prepared: the shared parameters, from `prepare`.
      past: from `begin` or the token before.
      tokens: int32 ``[R]``.
      affixes: int32 ``[R, A]``, theirs; None where there are none.
      count: int32 scalar, tokens that were read since the prompts.

    Returns:
      `Features` of these positions ``[R, 1, ...]``, and what to go on from.
    """
    encoder = network.encoder
    ids = tokens[:, None]
    embedded: Any
    table: Any
    embedded, table = make_embedding(encoder).apply(
        {"params": prepared["embedding"]}, ids, _column(affixes), train=False
    )
    x, body = embedded.astype(encoder.dtype), make_body(encoder)
    own = prepared.get(encoder.config.kind, {})
    match body:
        case TransformerEncoder():
            column = past.width[0] + count
            lines = past.lines
            columns = jnp.arange((past.layers[0].keys if lines is None else lines).shape[-1])
            mask = (columns >= past.starts[:, None]) & (columns <= column)
            if lines is None:
                mask = mask[:, None, None]
            else:
                here = jnp.arange(lines.shape[1], dtype=jnp.int32)
                lines = lines.at[:, :, column].set(here)
                past, mask = past._replace(lines=lines), seen_branches(lines, mask)
            positions = (column - past.starts)[:, None]
            hidden, layers = read_with_transformer(
                body, own, x, mask, positions, past.layers, column
            )
        case LSTMEncoder():
            hidden, layers = read_with_lstm(body, own, x, past.layers)
        case LinearEncoder():
            last, there = (
                jnp.concatenate([old[:, 1:], new], axis=1)
                for old, new in zip(past.layers, (ids, jnp.ones_like(ids)), strict=True)
            )
            before = jnp.zeros((*last.shape, x.shape[-1]), x.dtype)
            read: Any = body.apply({"params": own}, before.at[:, -1:].set(x), last, there)
            hidden, layers = read[:, -1:], (last, there)
    if encoder.config.dense:
        dense = nn.Dense(encoder.config.dense, dtype=encoder.dtype)
        wide: Any = dense.apply({"params": prepared["dense"]}, hidden)
        hidden = nn.relu(wide)
    features = Features(hidden, embedded, table, jnp.ones_like(ids))
    return features, past._replace(layers=layers)


def fork(past: Past, count: int) -> Past:
    """As many branches of each row of a transformer, one after another."""
    starts, width = (jnp.repeat(x, count) for x in (past.starts, past.width))
    lines = own_lines(past.starts.size, count, past.layers[0].keys.shape[-1])
    return Past(tuple(branched(own, count) for own in past.layers), starts, width, lines)


def choose(past: Past, parents: jax.Array) -> Past:
    """The branches that go on; nothing is copied but `Past.lines`.

    Args:
      past: from `fork`, of K branches of P rows.
      parents: int32 ``[P, K]``, which branch of its row each of the new ones goes on from.
    """
    assert past.lines is not None
    return past._replace(lines=jnp.take_along_axis(past.lines, parents[..., None], axis=1))


def _with_room(keys: jax.Array, values: jax.Array, room: int) -> KeysValues:
    wide = ((0, 0), (0, 0), (0, 0), (0, room))
    return KeysValues(*(jnp.pad(x, wide) for x in keys_values(keys, values)))


def _column(affixes: jax.Array | None) -> jax.Array | None:
    return None if affixes is None else affixes[:, None]

"""An answer written token by token, by the decoder of its task."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.modules.decoder import DecoderHead
from mtljax.modules.encoder import make_embedding
from mtljax.modules.heads import Features, Readout
from mtljax.modules.keys_values import KeysValues
from mtljax.modules.network import Network, Params, encode


class Written(NamedTuple):
    """What a decoder keeps of each row; the leading axis of all are the rows.

    Attributes:
      memory: by layer, the `KeysValues` of the source.
      source: bool ``[R, L]``, which columns of the prompts are a source.
      past: by layer, the `KeysValues` of the answer so far.
    """

    memory: tuple[KeysValues, ...]
    source: jax.Array
    past: tuple[KeysValues, ...]


def begin(
    network: Network, shared: Params, head: Params, task: str, batch: Mapping[str, Any], room: int
) -> tuple[Readout, Written]:
    """Read some sources.

    Args:
      network: from `mtljax.modules.build`.
      shared: ``params["shared"]``.
      head: ``params["heads"][task]``.
      task: name of a task with a decoder.
      batch: ``tokens``, ``segments``, ``positions`` (and ``affixes``) ``[R, L]``: ``<s> source
        </s>`` at the right edge of each row, segment 1; segment 0 before it.
      room: tokens that the answers get at most.

    Returns:
      The `Readout` ``[R, 1, ...]`` of what follows the mark, and what to go on from.
    """
    features = encode(network, shared, network.specs[task].group, batch)
    decoder = network.heads[task]
    assert isinstance(decoder, DecoderHead)
    assert features.source is not None
    memory: Any = decoder.apply({"params": head}, features.hidden, method="remember")
    shape = (*memory[0].keys.shape[:-1], room + 1)
    empty = tuple(KeysValues(*(jnp.zeros(shape, decoder.dtype),) * 2) for _ in memory)
    written = Written(memory, features.source, empty)
    return _read(network, head, task, features.embedded[:, -1:], features.table, written, 0)


def advance(
    network: Network,
    shared: Params,
    head: Params,
    task: str,
    written: Written,
    tokens: jax.Array,
    affixes: jax.Array | None,
    count: jax.Array,
) -> tuple[Readout, Written]:
    """Read one more token a row.

    Args:
      network: from `mtljax.modules.build`.
      shared: ``params["shared"]``; of it only the embedding is read.
      head: ``params["heads"][task]``.
      task: name of a task with a decoder.
      written: from `begin` or the token before.
      tokens: int32 ``[R]``.
      affixes: int32 ``[R, A]``, theirs; None where there are none.
      count: int32 scalar, tokens that were read since the sources.

    Returns:
      The `Readout` ``[R, 1, ...]`` of what follows, and what to go on from.
    """
    embedded: Any
    table: Any
    embedded, table = make_embedding(network.encoder).apply(
        {"params": shared["embedding"]},
        tokens[:, None],
        None if affixes is None else affixes[:, None],
        train=False,
    )
    return _read(network, head, task, embedded, table, written, count + 1)


def _read(
    network: Network,
    head: Params,
    task: str,
    embedded: jax.Array,
    table: jax.Array,
    written: Written,
    column: jax.Array | int,
) -> tuple[Readout, Written]:
    here = jnp.ones(embedded.shape[:2], jnp.int32)
    ids = jnp.asarray(network.specs[task].output_ids, jnp.int32)
    readout, past = network.heads[task].apply(
        {"params": head},
        Features(embedded, embedded, table, here, written.source),
        ids,
        written.memory,
        written.past,
        column,
        method="read_one",
    )  # pyright: ignore[reportGeneralTypeIssues]
    return readout, written._replace(past=past)

"""Answers written token by token by a `DecoderHead`, as plain functions over a parameter tree."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.decoder import DecoderCache, DecoderHead
from mtljax.modules.heads import Features, Readout
from mtljax.modules.network import Network, Params, encode


def prefill(
    network: Network, shared: Params, head: Params, task: str, batch: Mapping[str, Any], room: int
) -> tuple[Readout, DecoderCache]:
    """Read some sources, and the mark that answers begin with.

    Args:
      network: from `mtljax.modules.build`.
      shared: ``params["shared"]``.
      head: ``params["heads"][task]``.
      task: name of a task with a decoder.
      batch: ``tokens``, ``segments``, ``positions`` (and ``affixes``) ``[R, L]``: ``<s> source
        </s>`` at the right edge of each row, segment 1; segment 0 before it.
      room: tokens that the answers get at most.

    Returns:
      The `Readout` ``[R, 1, ...]`` of what follows the mark, and the cache that `decode_step`
      continues from.
    """
    features = encode(network, shared, network.specs[task].group, batch)
    decoder = network.heads[task]
    assert isinstance(decoder, DecoderHead)
    cache: Any = decoder.apply({"params": head}, features, room, method="prefill")
    return _read(network, head, task, features.embedded[:, -1:], features.table, cache, 0)


def decode_step(
    network: Network,
    shared: Params,
    head: Params,
    task: str,
    cache: DecoderCache,
    tokens: jax.Array,
    affixes: jax.Array | None,
    count: jax.Array,
) -> tuple[Readout, DecoderCache]:
    """Read one more token a row.

    Args:
      network: from `mtljax.modules.build`.
      shared: ``params["shared"]``; of it only the embedding is read.
      head: ``params["heads"][task]``.
      task: name of a task with a decoder.
      cache: from `prefill` or the token before.
      tokens: int32 ``[R]``.
      affixes: int32 ``[R, A]``, theirs; None where there are none.
      count: int32 scalar, tokens that were read since the mark.

    Returns:
      The `Readout` ``[R, 1, ...]`` of what follows, and the new cache.
    """
    embedded: Any
    table: Any
    embedded, table = network.encoder.apply(
        {"params": shared},
        tokens[:, None],
        None if affixes is None else affixes[:, None],
        train=False,
        method="embed",
    )  # pyright: ignore[reportGeneralTypeIssues]
    return _read(network, head, task, embedded, table, cache, count + 1)


def _read(
    network: Network,
    head: Params,
    task: str,
    embedded: jax.Array,
    table: jax.Array,
    cache: DecoderCache,
    column: jax.Array | int,
) -> tuple[Readout, DecoderCache]:
    segments = jnp.ones(embedded.shape[:2], jnp.int32)
    ids = jnp.asarray(network.specs[task].output_ids, jnp.int32)
    return network.heads[task].apply(
        {"params": head},
        Features(embedded, embedded, table, segments),
        ids,
        cache,
        column,
        method="decode_step",
    )  # pyright: ignore[reportReturnType]

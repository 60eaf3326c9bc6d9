"""All input groups encoded in one pass: one set of rows, of which each group is a range."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.modules.attention_mask import AttentionByRow
from mtljax.modules.config import Attention
from mtljax.modules.heads import Features
from mtljax.modules.network import Network, Params, apply_encoder, group_heads
from mtljax.modules.packed_rows import by_rows
from mtljax.modules.shared_heads import heads_named


def encode_together(
    network: Network,
    shared: Params,
    batches: Mapping[str, Mapping[str, Any]],
    key: jax.Array | None = None,
) -> dict[str, Features]:
    """Encode the rows of all input groups in one pass; what they see of each other is data.

    Where the encoder has a sharding of rows, each device has its own rows of every group next to
    each other, so that no row moves.

    Args:
      network: from `mtljax.modules.build`.
      shared: ``params["shared"]``.
      batches: by input group its ``tokens``, ``segments``, ``positions`` (and ``affixes``,
        ``rows``), all with rows of one length S.
      key: of the dropout; None for none.

    Returns:
      By input group, what `mtljax.modules.encode` returns for it.
    """
    names = list(batches)
    sizes = [batches[name]["tokens"].shape[0] for name in names]
    rows = network.encoder.rows
    parts = 1 if rows is None else sum(sizes) // rows.shard_shape((sum(sizes),))[0]
    kinds: tuple[Attention, ...] = tuple(dict.fromkeys(network.attention[name] for name in names))
    attention: Attention | AttentionByRow = kinds[0]
    if len(kinds) > 1:
        of_row = [
            np.full(size, kinds.index(network.attention[name]), np.int32)
            for name, size in zip(names, sizes, strict=True)
        ]
        attention = AttentionByRow(kinds, _join(of_row, parts))
    joined = {
        field: _join([batches[name][field] for name in names], parts)
        for field in batches[names[0]]
        if field != "words"
    }
    whole = apply_encoder(network, shared, joined, attention, key)

    def by_group(leaf: jax.Array) -> list[jax.Array]:
        return [by_rows(piece, rows) for piece in _divide(leaf, sizes, parts)]

    none = [None] * len(names)
    pieces = zip(
        by_group(whole.hidden),
        by_group(whole.embedded),
        by_group(whole.segments),
        none if whole.source is None else by_group(whole.source),
        none if whole.rows is None else by_group(whole.rows),
        strict=True,
    )
    features = {}
    for name, (hidden, embedded, segments, source, numbers) in zip(names, pieces, strict=True):
        source = source if network.attention[name] in ("prefix", "separate") else None
        heads = heads_named(shared, group_heads(network, name))
        words = batches[name].get("words")
        features[name] = Features(
            hidden, embedded, whole.table, segments, source, numbers, heads, words
        )
    return features


def _join(arrays: Sequence[Any], parts: int) -> jax.Array:
    """Arrays ``[R_g, ...]`` as one ``[R, ...]``, in each of whose parts is a part of every one."""
    # Affixes beyond those that a token has are 0.
    width = max(array.shape[-1] for array in arrays)
    if arrays[0].ndim > 2:
        free = [(0, 0)] * (arrays[0].ndim - 1)
        arrays = [jnp.pad(x, (*free, (0, width - x.shape[-1]))) for x in arrays]
    by_part = [x.reshape(parts, x.shape[0] // parts, *x.shape[1:]) for x in arrays]
    joined = jnp.concatenate(by_part, axis=1)
    return joined.reshape(-1, *joined.shape[2:])


def _divide(x: jax.Array, sizes: Sequence[int], parts: int) -> list[jax.Array]:
    """The arrays that `_join` made one of."""
    by_part = x.reshape(parts, x.shape[0] // parts, *x.shape[1:])
    # The gradient of a split is one concatenation, that of slices a sum of padded arrays.
    pieces = jax.lax.split(by_part, [size // parts for size in sizes], axis=1)
    return [piece.reshape(size, *x.shape[1:]) for piece, size in zip(pieces, sizes, strict=True)]

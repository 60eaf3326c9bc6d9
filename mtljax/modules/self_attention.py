"""Self-attention of a transformer layer: over a row, or over the columns of a cache."""

from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from mtljax.modules.architecture import Architecture
from mtljax.modules.beam_cache import BeamKeysValues, attend_beams, write_beams
from mtljax.modules.blockwise_attention import LONG, blockwise_attention
from mtljax.modules.by_position import adapted, by_position
from mtljax.modules.disentangled import distance_scores
from mtljax.modules.fused_attention import fused_attention
from mtljax.modules.keys_values import KeysValues, attend, keys_values
from mtljax.modules.named_axes import named_dense
from mtljax.modules.norms import head_norm
from mtljax.modules.packed_mask import PackedMask, seen_by
from mtljax.modules.positions import layer_frequencies, rotate
from mtljax.modules.splash_attention import splash_attention

Implementation = Literal["xla", "cudnn", "blocks", "splash"]
LongImplementation = Literal["blocks", "splash"]


class QueriesKeysValues(NamedTuple):
    """Of the positions of rows, with rotary positions where there are any.

    Attributes:
      query: ``[R, S, heads, size]``, scaled so that products are to be divided by ``sqrt(size)``.
      key: ``[R, S, kv_heads, size]``.
      value: ``[R, S, kv_heads, size]``.
      scores: ``[R, heads, S, C]``, what is added to their inner products, scaled, with the C
        positions or columns that are seen; of all rows if R is 1; None for nothing.
    """

    query: jax.Array
    key: jax.Array
    value: jax.Array
    scores: jax.Array | None = None


def queries_keys_values(
    x: jax.Array,
    architecture: Architecture,
    heads: int,
    size: int,
    positions: jax.Array,
    local: jax.Array | bool,
    distances: jax.Array | None,
    dtype: DTypeLike,
) -> QueriesKeysValues:
    """Queries, keys and values of the layer that calls it, whose modules it makes.

    Args:
      x: ``[R, S, D]``.
      architecture: their heads, biases, norms and positions.
      heads: of the queries.
      size: features of a head.
      positions: ``[R, S]``, within the text.
      local: whether the layer sees a window, a bool scalar.
      distances: the table of disentangled positions ``[rows, D]``, or the bias of relative ones
        ``[1, heads, S, C]``; None for other positions.
      dtype: of the computation.
    """
    a = architecture
    scores = distances if a.positions == "relative" else None
    settings: dict[str, Any] = {"dtype": dtype, "use_bias": a.qkv_bias}
    split = ("qkv", "heads", "head_features")
    if a.kv_heads in (0, heads):
        names = named_dense(("features", *split), split)
        dense = nn.DenseGeneral((3, heads, size), name="qkv", **settings, **names)
        qkv = by_position(dense, x)
        query, key, value = (qkv[:, :, i] for i in range(3))
        if a.positions == "disentangled" and distances is not None:
            far = adapted(dense, distances)
            scores = distance_scores(query, key, far[:, 0], far[:, 1], a)
            scores = scores * (a.query_scale or size**-0.5)
    else:
        names = named_dense(("features", *split[1:]), split[1:])
        query = by_position(nn.DenseGeneral((heads, size), name="query", **settings, **names), x)
        names = named_dense(("features", *split), split)
        shape = (2, a.kv_heads, size)
        both = by_position(nn.DenseGeneral(shape, name="key_value", **settings, **names), x)
        key, value = both[:, :, 0], both[:, :, 1]
    if a.query_key_norm:
        query = head_norm(a, dtype, "query_norm")(query)
        key = head_norm(a, dtype, "key_norm")(key)
    if a.positions == "rotary":
        frequencies = layer_frequencies(a, size, local)
        query, key = rotate(query, positions, frequencies), rotate(key, positions, frequencies)
    return QueriesKeysValues(scaled_query(query, a), key, value, scores)


def scaled_query(query: jax.Array, architecture: Architecture) -> jax.Array:
    """Queries ``[..., size]`` whose products with keys are to be divided by ``sqrt(size)``."""
    if not architecture.query_scale:
        return query
    return query * jnp.asarray(architecture.query_scale * query.shape[-1] ** 0.5, query.dtype)


def implementation_for(
    size: int,
    asked: Implementation | None,
    architecture: Architecture,
    long: LongImplementation = "blocks",
) -> Implementation:
    """What reads the attention among so many positions.

    Args:
      size: positions of a row.
      asked: the one that is wanted; None for one by the length of a row.
      architecture: positions that add a number to each pair hold all pairs, whatever is asked.
      long: of rows of `LONG` positions and more, where nothing is asked.
    """
    if architecture.positions in ("disentangled", "relative"):
        return "xla"
    return asked or (long if size >= LONG else "xla")


def attend_row(
    qkv: QueriesKeysValues,
    mask: jax.Array | PackedMask | None,
    implementation: Implementation | None,
    rows: NamedSharding | None = None,
) -> jax.Array:
    """Attention of the positions of a row to each other: ``[R, S, heads, size]``.

    Without an implementation, rows of `LONG` positions and more are read in blocks. ``rows`` are
    how rows are split among devices.
    """
    query, key, value, scores = qkv
    if scores is not None:
        mask = seen_by(mask) if isinstance(mask, PackedMask) else mask
        return jax.nn.dot_product_attention(
            query, key, value, bias=scores.astype(query.dtype), mask=mask, implementation="xla"
        )  # pyright: ignore[reportReturnType]
    if implementation == "splash" and not isinstance(mask, jax.Array):
        return splash_attention(query, key, value, mask, rows)
    if implementation == "blocks" or (implementation is None and query.shape[1] >= LONG):
        return blockwise_attention(query, key, value, mask)
    mask = seen_by(mask) if isinstance(mask, PackedMask) else mask
    if implementation == "cudnn" and mask is not None:
        return fused_attention(query, key, value, mask)
    plain = "cudnn" if implementation == "cudnn" else "xla" if implementation else None
    return jax.nn.dot_product_attention(query, key, value, mask=mask, implementation=plain)  # pyright: ignore[reportReturnType]


def attend_source(query: jax.Array, source: KeysValues, mask: jax.Array | PackedMask) -> jax.Array:
    """Attention of queries ``[R, S, heads, size]`` to another text, in blocks under a `PackedMask`.

    Args:
      query: likewise what is returned.
      source: keys and values of its C columns.
      mask: bool ``[R, 1, S, C]`` or as data, which of them each position sees.
    """
    if not isinstance(mask, PackedMask):
        return attend(query, source, mask)
    key, value = (jnp.transpose(x, (0, 3, 1, 2)) for x in source)
    return blockwise_attention(query, key, value, mask)


def attend_cache(
    qkv: QueriesKeysValues,
    mask: jax.Array,
    cache: KeysValues | BeamKeysValues,
    column: jax.Array | int,
) -> tuple[jax.Array, KeysValues | BeamKeysValues]:
    """Attention to a cache, in which the keys and values are first written.

    Args:
      qkv: of the positions that are read.
      mask: bool, which columns they see.
      cache: of C columns.
      column: where the first of them is written.

    Returns:
      ``[R, S, heads, size]``, and the cache with them.
    """
    new = keys_values(qkv.key, qkv.value)
    if isinstance(cache, BeamKeysValues):
        cache = write_beams(cache, new, column)
        return attend_beams(qkv.query, cache, mask, qkv.scores), cache
    write = jax.lax.dynamic_update_slice_in_dim
    cache = KeysValues(*(write(*x, column, axis=3) for x in zip(cache, new, strict=True)))
    return attend(qkv.query, cache, mask, qkv.scores), cache

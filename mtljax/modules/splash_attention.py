"""Attention of long rows on TPUs, by JAX's splash kernel, which makes masks as it goes."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from mtljax.modules.packed_mask import PackedMask

LONGEST = 131_072
"""Positions of the longest row that is read so; its blocks are listed in the scalar memory."""

_LANES = 128


def splash_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: PackedMask | None,
    rows: NamedSharding | None = None,
    *,
    interpret: bool = False,
) -> jax.Array:
    """Attention of the positions of rows to each other, as `blockwise_attention` has it.

    The kernel sees segments, and of a causal mask or a window the blocks that it leaves out. What
    it has no mask for is put together from two passes: where some positions see ahead and others
    do not, one of either. Those of a source see ahead within it: sources begin their texts.

    Args:
      query: ``[R, S, heads, size]``.
      key: ``[R, S, kv_heads, size]``.
      value: likewise.
      mask: of positions that look at each other; None for all.
      rows: how rows are split among the devices of a mesh under `jax.jit`, whose compiler cannot
        split a kernel; None where a device sees its own rows.
      interpret: run the kernel without a TPU, slowly.

    Returns:
      ``[R, S, heads, size]``, in the dtype of the query; scores are float32.
    """
    attend = functools.partial(_attend, interpret=interpret)
    if rows is None:
        return attend(query, key, value, mask)
    along, model = rows.spec[0], "model"
    by_heads = model in rows.mesh.shape and key.shape[2] % rows.mesh.shape[model] == 0
    heads = P(along, None, model if by_heads else None)
    of_mask = jax.tree.map(lambda leaf: P(along) if leaf.ndim else P(), mask)
    specs: Any = (heads, heads, heads, of_mask)
    split = jax.shard_map(attend, mesh=rows.mesh, in_specs=specs, out_specs=heads, check_vma=False)
    return split(query, key, value, mask)


def _attend(query: Any, key: Any, value: Any, mask: PackedMask | None, interpret: bool) -> Any:
    size = query.shape[1]
    padding = -size % _LANES
    scaled = query * jnp.asarray(query.shape[-1] ** -0.5, query.dtype)
    q, k, v = (_heads_first(x, padding) for x in (scaled, key, value))

    def one_pass(segments: jax.Array | None, causal: bool, window: int) -> jax.Array:
        out = _kernel(q.shape[1], q.shape[2], causal, window, interpret)(q, k, v, segments)
        return jnp.swapaxes(out, 1, 2)[:, :size]

    def under(window: int) -> jax.Array:
        if mask is None:
            ids = jnp.zeros(query.shape[:2], jnp.int32)
            return one_pass(_padded(ids, padding) if padding else None, False, window)
        segments = mask.keys
        if not mask.causal:
            return one_pass(_padded(segments, padding), False, window)
        behind = one_pass(_padded(segments, padding), True, window)
        if mask.source is None and mask.causal_rows is None:
            return behind
        sees_ahead, apart = jnp.zeros(segments.shape, bool), 2 * segments
        if mask.source is not None:
            in_rows = True if mask.causal_rows is None else mask.causal_rows[:, None]
            sees_ahead = mask.source & in_rows
            apart = apart + sees_ahead
        if mask.causal_rows is not None:
            sees_ahead = sees_ahead | ~mask.causal_rows[:, None]
        ahead = one_pass(_padded(apart, padding), False, window)
        return jnp.where(sees_ahead[:, :, None, None], ahead, behind)

    if mask is None or mask.local is None:
        return under(0)
    # Of two branches the backward pass would keep what either has.
    choose = jax.checkpoint(
        lambda local: jax.lax.cond(local, lambda: under(mask.window), lambda: under(0))
    )
    return choose(mask.local)


def _heads_first(x: jax.Array, padding: int) -> jax.Array:
    return jnp.pad(jnp.swapaxes(x, 1, 2), ((0, 0), (0, 0), (0, padding), (0, 0)))


def _padded(segments: jax.Array, padding: int) -> jax.Array:
    """What is added to the end of a row is a segment of its own."""
    ids = jnp.asarray(segments, jnp.int32)
    return jnp.pad(ids, ((0, 0), (0, padding)), constant_values=-1)


def _kernel(heads: int, size: int, causal: bool, window: int, interpret: bool) -> Any:
    """Attention ``[R, heads, S, size]`` to that under one mask of all rows, and their segments."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    block = next(b for b in (512, 256, _LANES) if size % b == 0)
    square = size, size
    if window:
        one: masks.Mask = masks.LocalMask(square, (window, 0 if causal else window), offset=0)
    else:
        one = masks.CausalMask(square) if causal else masks.FullMask(square)
    names = [field.name for field in dataclasses.fields(splash.BlockSizes)]
    blocks: dict[str, Any] = {name: block for name in names if name.startswith("block_")}
    kernel = splash.make_splash_mha(
        masks.MultiHeadMask([one] * heads),
        block_sizes=splash.BlockSizes(**blocks),
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )

    def of_rows(q: Any, k: Any, v: Any, ids: jax.Array | None) -> Any:
        if ids is None:
            return jax.vmap(kernel)(q, k, v)
        return jax.vmap(kernel)(q, k, v, splash.SegmentIds(ids, ids))

    return of_rows

"""Attention of long rows that holds the scores of some of their positions at a time."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.packed_mask import PackedMask, seen_by

BLOCK = 256
"""Positions whose scores are held."""

LONG = 2048
"""Positions of a row from which on it is taken where nothing else is asked for."""


def blockwise_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | PackedMask | None,
    block: int = BLOCK,
) -> jax.Array:
    """`jax.nn.dot_product_attention`, block after block of the positions that look.

    Each position's softmax is over all that it sees, as in the plain one; the backward pass
    computes each block's again (Rabe and Staats 2021, "Self-attention does not need O(n^2) memory",
    of which this is the half that leaves the softmax whole). Gradients of keys and values are
    summed over the blocks in float32.

    Args:
      query: ``[R, S, heads, size]``.
      key: ``[R, S, kv_heads, size]``, of as many positions or others.
      value: likewise.
      mask: which positions see which; None for all. Of a `PackedMask` the part of a block is made
        with it; bool ``[R, 1, S, S]``, of all rows if the first dimension is 1, is held.
      block: positions of a block.

    Returns:
      ``[R, S, heads, size]``, in the dtype of the query.
    """
    rows, size = query.shape[:2]
    count = -(-size // block)

    def blocks(x: jax.Array, axis: int) -> jax.Array:
        """``[count, ...]`` with ``block`` positions along the axis, the last ones padded."""
        widths = [(0, 0)] * x.ndim
        widths[axis] = (0, count * block - size)
        padded = jnp.pad(x, widths)
        shape = *x.shape[:axis], count, block, *x.shape[axis + 1 :]
        return jnp.moveaxis(padded.reshape(shape), axis, 0)

    wide = [x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in (key, value)]

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def of_block(part: tuple[jax.Array, Any, jax.Array]) -> jax.Array:
        looking, seen, first = part
        if isinstance(mask, PackedMask):
            seen = seen_by(mask, seen, first)
        narrow = [x.astype(query.dtype) for x in wide]
        return jax.nn.dot_product_attention(looking, *narrow, mask=seen, implementation="xla")  # pyright: ignore[reportReturnType]

    masks = None
    if mask is not None:
        masks = blocks(mask.queries, 1) if isinstance(mask, PackedMask) else blocks(mask, 2)
    parts = blocks(query, 1), masks, jnp.arange(count) * block
    out = jnp.moveaxis(jax.lax.map(of_block, parts), 0, 1)
    return out.reshape(rows, count * block, *out.shape[3:])[:, :size]

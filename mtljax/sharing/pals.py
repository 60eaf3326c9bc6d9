"""Attention of a task in a space of few features, beside a layer (projected attention layers)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def projected_attention(
    x: jax.Array,
    down: jax.Array,
    qkv: jax.Array,
    up: jax.Array,
    mask: Any = None,
    attend: Callable[..., jax.Array] | None = None,
) -> jax.Array:
    """A projected attention layer (PAL): ``attention(x V_E) V_D``.

    Stickland and Murray 2019, section 3.3 and equation 6: multi-head attention without a matrix
    at its output.

    Args:
      x: ``[R, S, D]``, floating point.
      down: ``[D, m]``.
      qkv: ``[m, 3, H, m / H]``, for queries, keys and values.
      up: ``[m, D]``.
      mask: bool ``[R, 1, S, S]``, what each position sees; None for all positions.
      attend: attention of ``[R, S, H, m / H]`` queries, keys and values under `mask`, which may be
        what it reads; None for `jax.nn.dot_product_attention`.

    Returns:
      ``[R, S, D]``, in the dtype of `x`; the softmax is in float32.
    """
    rows, columns, width = x.shape
    low = x.reshape(-1, width) @ down.astype(x.dtype)
    projected = low @ qkv.reshape(qkv.shape[0], -1).astype(x.dtype)
    query, key, value = jnp.moveaxis(projected.reshape(rows, columns, *qkv.shape[1:]), 2, 0)
    seen = (attend or jax.nn.dot_product_attention)(query, key, value, mask=mask)
    return (seen.reshape(rows * columns, -1) @ up.astype(x.dtype)).reshape(x.shape)  # pyright: ignore[reportAttributeAccessIssue]

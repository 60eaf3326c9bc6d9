"""A key-value cache: keys and values of the positions that an attention layer has read."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class KeysValues(NamedTuple):
    """Keys and values of C positions, the columns of a cache.

    Attributes:
      keys: ``[R, heads, size, C]``, rotated; of heads of keys, which may be fewer.
      values: ``[R, heads, size, C]``.
    """

    keys: jax.Array
    values: jax.Array


def keys_values(keys: jax.Array, values: jax.Array) -> KeysValues:
    """A cache of keys and values ``[R, C, heads, size]``, in the order that attention reads it.

    Products with a single query then copy nothing.
    """
    return KeysValues(*(jnp.transpose(x, (0, 2, 3, 1)) for x in (keys, values)))


def attend(
    query: jax.Array, cache: KeysValues, mask: jax.Array, bias: jax.Array | None = None
) -> jax.Array:
    """Scaled dot-product attention to the columns of a cache.

    Args:
      query: ``[R, S, heads, size]``, rotated; several in turn may share the keys of one head.
      cache: of C columns.
      mask: bool ``[R, 1, S, C]``, the columns that each position sees.
      bias: ``[1, heads, S, C]``, what is added to the scaled inner products; None for nothing.

    Returns:
      ``[R, S, heads, size]``; scores and softmax are float32 or wider.
    """
    heads, shared = query.shape[2], query.shape[2] // cache.keys.shape[1]
    if shared > 1:
        # Queries that share keys are as many positions more that see the same columns.
        rows, length, _, size = query.shape
        query = query.reshape(rows, length, -1, shared, size).swapaxes(2, 3)
        query = query.reshape(rows, length * shared, -1, size)
        if bias is not None:
            bias = bias.reshape(1, -1, shared, length, bias.shape[-1]).swapaxes(2, 3)
            bias = bias.reshape(1, -1, length * shared, bias.shape[-1])
        attended = attend(query, cache, jnp.repeat(mask, shared, axis=2), bias)
        attended = attended.reshape(rows, length, shared, -1, size).swapaxes(2, 3)
        return attended.reshape(rows, length, heads, size)
    wide = jnp.promote_types(query.dtype, jnp.float32)
    scores = jnp.einsum("rshd,rhdc->rhsc", query, cache.keys, preferred_element_type=wide)
    scores = scores * query.shape[-1] ** -0.5
    scores = scores if bias is None else scores + bias
    scores = jnp.where(mask, scores, jnp.finfo(wide).min)
    shares = jax.nn.softmax(scores, axis=-1).astype(query.dtype)
    return jnp.einsum("rhsc,rhdc->rshd", shares, cache.values)

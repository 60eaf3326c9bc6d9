"""A key-value cache: keys and values of the positions that an attention layer has read."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class KeysValues(NamedTuple):
    """Keys and values of C positions, the columns of a cache.

    Attributes:
      keys: ``[R, heads, size, C]``, rotated.
      values: ``[R, heads, size, C]``.
    """

    keys: jax.Array
    values: jax.Array


def keys_values(keys: jax.Array, values: jax.Array) -> KeysValues:
    """A cache of keys and values ``[R, C, heads, size]``, in the order that attention reads it.

    Products with a single query then copy nothing.
    """
    return KeysValues(*(jnp.transpose(x, (0, 2, 3, 1)) for x in (keys, values)))


def attend(query: jax.Array, cache: KeysValues, mask: jax.Array) -> jax.Array:
    """Scaled dot-product attention to the columns of a cache.

    Args:
      query: ``[R, S, heads, size]``, rotated.
      cache: of C columns.
      mask: bool ``[R, 1, S, C]``, the columns that each position sees.

    Returns:
      ``[R, S, heads, size]``; scores and softmax are float32 or wider.
    """
    wide = jnp.promote_types(query.dtype, jnp.float32)
    scores = jnp.einsum("rshd,rhdc->rhsc", query, cache.keys, preferred_element_type=wide)
    scores = jnp.where(mask, scores * query.shape[-1] ** -0.5, jnp.finfo(wide).min)
    shares = jax.nn.softmax(scores, axis=-1).astype(query.dtype)
    return jnp.einsum("rhsc,rhdc->rshd", shares, cache.values)

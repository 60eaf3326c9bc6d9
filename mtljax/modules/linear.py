"""The linear encoder: hashed n-grams, no nonlinearity."""

import flax.linen as nn
import jax
import jax.numpy as jnp

# Odd multipliers of a multiplicative hash on 32 bits (Knuth, volume 3, section 6.4).
_MULTIPLIERS = (2_654_435_761, 2_246_822_519, 3_266_489_917, 668_265_263)


MAX_ORDER = len(_MULTIPLIERS)
"""The longest n-gram there is a hash for."""


def ngram_buckets(tokens: jax.Array, segments: jax.Array, order: int, buckets: int) -> jax.Array:
    """Hash the n-gram that ends at each position.

    Args:
      tokens: ``[R, S]`` ids.
      segments: ``[R, S]``, 0 for padding.
      order: the ``n`` of the n-gram, 2 to 4.
      buckets: number of buckets.

    Returns:
      ``[R, S]`` int32 in ``[1, buckets)``, or 0 where the n-gram would begin before its segment.
    """
    size = tokens.shape[1]
    mixed = jnp.zeros(tokens.shape, jnp.uint32)
    inside = segments > 0
    for back in range(order):
        shifted = jnp.pad(tokens, ((0, 0), (back, 0)))[:, :size]
        owner = jnp.pad(segments, ((0, 0), (back, 0)))[:, :size]
        inside = inside & (owner == segments)
        mixed = (mixed ^ shifted.astype(jnp.uint32)) * jnp.uint32(_MULTIPLIERS[back])
        mixed = mixed ^ (mixed >> 15)
    return jnp.where(inside, 1 + mixed % jnp.uint32(buckets - 1), 0).astype(jnp.int32)


class LinearEncoder(nn.Module):
    """A word's vector plus the vectors of the n-grams that end at it.

    With a head that sums over the text and has no hidden layer, the prediction is linear in the
    bag of n-grams, and the shared parameters are a low-rank factor that all tasks have in common.

    Attributes:
      features: width ``D``.
      order: longest n-gram; 1 is a bag of words.
      buckets: rows of the hashed n-gram table.
    """

    features: int
    order: int = 2
    buckets: int = 65_536

    @nn.compact
    def __call__(self, x: jax.Array, tokens: jax.Array, segments: jax.Array) -> jax.Array:
        """Add n-gram vectors to the word vectors ``x`` ``[R, S, D]``; same shape out."""
        for order in range(2, self.order + 1):
            table = self.param(
                f"ngrams_{order}", nn.initializers.zeros, (self.buckets, self.features)
            )
            found = ngram_buckets(tokens, segments, order, self.buckets)
            x = x + jnp.take(table, found, axis=0) * (found > 0)[..., None].astype(x.dtype)
        return x

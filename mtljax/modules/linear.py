"""The linear encoder: hashed n-grams, no nonlinearity."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from mtljax.gradients import look_up
from mtljax.modules.by_position import with_film
from mtljax.modules.named_axes import named

# Odd multipliers of a multiplicative hash on 32 bits (Knuth, volume 3, section 6.4).
_MULTIPLIERS = (2_654_435_761, 2_246_822_519, 3_266_489_917, 668_265_263)


MAX_ORDER = len(_MULTIPLIERS)
"""The longest n-gram that has a hash."""


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


class LastTokens(NamedTuple):
    """The last tokens that were read, as many as the longest n-gram has.

    Attributes:
      tokens: int32 ``[R, n]`` ids.
      segments: int32 ``[R, n]``, 1 for a token of the text, 0 where it had not begun.
    """

    tokens: jax.Array
    segments: jax.Array


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
        """Add n-gram vectors to word vectors.

        Args:
          x: ``[R, S, D]``, the vector of each position's word.
          tokens: ``[R, S]`` ids.
          segments: ``[R, S]``, 0 for padding.

        Returns:
          ``[R, S, D]``.
        """
        for order in range(2, self.order + 1):
            table = self.param(
                f"ngrams_{order}",
                named(nn.initializers.zeros, ("vocabulary", "embedding")),
                (self.buckets, self.features),
            )
            buckets = ngram_buckets(tokens, segments, order, self.buckets)
            x = x + look_up(table, buckets) * (buckets > 0)[..., None].astype(x.dtype)
        return with_film(self, "film", x)

    def prefill(
        self, x: jax.Array, tokens: jax.Array, segments: jax.Array
    ) -> tuple[jax.Array, LastTokens]:
        """Encode prompts that end at the last column, and return what `decode_step` continues from.

        Args:
          x: as of a call, as are `tokens` and `segments`.
          tokens: ``[R, L]``.
          segments: ``[R, L]``.

        Returns:
          ``[R, L, D]``, and the tokens of the last columns.
        """
        free = ((0, 0), (self.order, 0))
        last = LastTokens(
            *(
                jnp.pad(jnp.asarray(ids, jnp.int32), free)[:, -self.order :]
                for ids in (tokens, segments)
            )
        )
        return self(x, tokens, segments), last

    def decode_step(
        self, x: jax.Array, tokens: jax.Array, last: LastTokens
    ) -> tuple[jax.Array, LastTokens]:
        """Encode one more position a row.

        Args:
          x: ``[R, 1, D]``, the vector of its word.
          tokens: int32 ``[R, 1]``, its id.
          last: tokens before it.

        Returns:
          ``[R, 1, D]``, and the last tokens with its own.
        """
        last = LastTokens(
            *(
                jnp.concatenate([before[:, 1:], new], axis=1)
                for before, new in zip(last, (tokens, jnp.ones_like(tokens)), strict=True)
            )
        )
        # The n-grams that end at the columns before are computed as well, and not read.
        vectors = jnp.zeros((*last.tokens.shape, x.shape[-1]), x.dtype).at[:, -1:].set(x)
        return self(vectors, last.tokens, last.segments)[:, -1:], last

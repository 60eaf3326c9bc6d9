"""Dropout that costs less than the layer it regularizes."""

import flax.linen as nn
import jax
import jax.numpy as jnp

_MASKS = 64


class LockedDropout(nn.Module):
    """Dropout with one mask a row, or a text, shared by all its positions.

    A new mask for every position costs more random bits than an LSTM step costs FLOPs on a CPU.
    One mask a row is ``S`` times cheaper and regularizes recurrent language models better
    (Gal and Ghahramani 2016; "locked dropout" of Merity, Keskar and Socher 2018).

    Attributes:
      rate: probability of a zero, in ``[0, 1)``.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, texts: jax.Array | None = None, *, train: bool) -> jax.Array:
        """Drop features of ``x``.

        Args:
          x: ``[R, S, D]``.
          texts: ``[R, S]``, the text of each position; each of up to 64 has a mask of its own.
            None for one mask a row.
          train: whether anything is dropped.

        Returns:
          ``[R, S, D]``.
        """
        if texts is None:
            return nn.Dropout(self.rate, broadcast_dims=(1,))(x, deterministic=not train)
        if not train or self.rate == 0.0:
            return x
        rows, size, width = x.shape
        masks = min(size, _MASKS)
        key = self.make_rng("dropout")
        kept = jax.random.bernoulli(key, 1.0 - self.rate, (rows, masks, width))
        kept = jnp.take_along_axis(kept, (texts % masks)[..., None], axis=1)
        return jnp.where(kept, x / (1.0 - self.rate), 0.0).astype(x.dtype)


def drop_tokens(tokens: jax.Array, rate: float, replacement: int, key: jax.Array) -> jax.Array:
    """Replace each token by ``replacement`` with probability ``rate``.

    Args:
      tokens: integer ids, any shape.
      rate: probability in ``[0, 1]``, resolved to 1/256.
      replacement: the id that stands for a dropped token.
      key: a random key.

    Returns:
      Ids of the same shape and dtype.
    """
    # Eight random bits a token are enough for a rate and a quarter of the cost of a uniform float.
    bits = jax.random.bits(key, tokens.shape, jnp.uint8).astype(jnp.int32)
    return jnp.where(bits < round(rate * 256), replacement, tokens)

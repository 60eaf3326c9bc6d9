"""Dropout that costs less than the layer it regularizes, drawn row by row.

What a row draws depends on a key and on the row's number alone: the same is drawn whichever rows
are encoded with it, and on whichever device.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

_MASKS = 64


class Masked(NamedTuple):
    """Which positions have dropout masks of their own.

    Attributes:
      rows: ``[R]`` integers, a number for each row; rows of equal numbers draw the same.
      texts: ``[R, S]``, the text of each position; each of up to 64 has a mask of its own. None for
        one mask a row.
    """

    rows: jax.Array
    texts: jax.Array | None = None


def row_keys(key: jax.Array, rows: jax.Array) -> jax.Array:
    """A random key ``[R]`` for each row, from its number ``[R]``."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows)


def _kept(key: jax.Array, rate: float, rows: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Bool ``[R, *shape]``, false with probability `rate`."""
    draw = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - rate, shape))
    return draw(row_keys(key, rows))


class Dropout(nn.Module):
    """Dropout with a mask for every element.

    Attributes:
      rate: probability of a zero, in ``[0, 1)``.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, rows: jax.Array | None = None, *, train: bool) -> jax.Array:
        """Drop elements of ``x``.

        Args:
          x: ``[R, ...]``.
          rows: ``[R]``, numbers of the rows; None for 0 to R - 1.
          train: whether anything is dropped.

        Returns:
          The same shape and dtype.
        """
        if not train or self.rate == 0.0:
            return x
        rows = jnp.arange(x.shape[0]) if rows is None else rows
        kept = _kept(self.make_rng("dropout"), self.rate, rows, x.shape[1:])
        return jnp.where(kept, x / (1.0 - self.rate), 0.0).astype(x.dtype)


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
    def __call__(self, x: jax.Array, masked: Masked | None = None, *, train: bool) -> jax.Array:
        """Drop features of ``x``.

        Args:
          x: ``[R, S, D]``.
          masked: the numbers of the rows, and the texts that have masks of their own; None for rows
            0 to R - 1 with one mask each.
          train: whether anything is dropped.

        Returns:
          ``[R, S, D]``.
        """
        if not train or self.rate == 0.0:
            return x
        _, size, width = x.shape
        rows, texts = Masked(jnp.arange(x.shape[0])) if masked is None else masked
        masks = 1 if texts is None else min(size, _MASKS)
        kept = _kept(self.make_rng("dropout"), self.rate, rows, (masks, width))
        if texts is not None:
            kept = jnp.take_along_axis(kept, (texts % masks)[..., None], axis=1)
        return jnp.where(kept, x / (1.0 - self.rate), 0.0).astype(x.dtype)


def drop_tokens(
    tokens: jax.Array,
    rate: float,
    replacement: int,
    key: jax.Array,
    rows: jax.Array | None = None,
) -> jax.Array:
    """Replace each token by ``replacement`` with probability ``rate``.

    Args:
      tokens: integer ids ``[R, ...]``.
      rate: probability in ``[0, 1]``, resolved to 1/256.
      replacement: the id that stands for a dropped token.
      key: a random key.
      rows: ``[R]``, numbers of the rows; None for 0 to R - 1.

    Returns:
      Ids of the same shape and dtype.
    """
    rows = jnp.arange(tokens.shape[0]) if rows is None else rows
    # Eight random bits a token are enough for a rate and a quarter of the cost of a uniform float.
    draw = jax.vmap(lambda key: jax.random.bits(key, tokens.shape[1:], jnp.uint8))
    bits = draw(row_keys(key, rows)).astype(jnp.int32)
    return jnp.where(bits < round(rate * 256), replacement, tokens)

"""The decoding loop: one token a row and pass, until all rows have ended."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from mtljax.generation.sampling import sample


class NextLogits(Protocol):
    """What a model must offer to be decoded."""

    def __call__(self, tokens: jax.Array, lengths: jax.Array, /) -> jax.Array:
        """Logits of the token that follows each row.

        Args:
          tokens: int32 ``[R, L]``, ids; what stands at ``lengths`` and after is not to be read.
          lengths: int32 ``[R]``, from 1.

        Returns:
          float ``[R, V_out]``, one logit a class.
        """
        ...


class Decoded(NamedTuple):
    """What was decoded.

    Attributes:
      tokens: int32 ``[R, L]``, prompts and what follows them, without the end mark.
      lengths: int32 ``[R]``, ids in each row.
      ended: bool ``[R]``, whether the row came to its end mark.
    """

    tokens: jax.Array
    lengths: jax.Array
    ended: jax.Array


def padded_length(length: int, multiple: int = 64) -> int:
    """The next multiple, so that rows of many lengths share few compiled shapes.

    >>> padded_length(64), padded_length(65)
    (64, 128)
    """
    return -(-max(length, 1) // multiple) * multiple


def decode(
    next_logits: NextLogits,
    output_ids: jax.Array,
    tokens: jax.Array,
    lengths: jax.Array,
    keys: jax.Array,
    *,
    max_tokens: jax.Array | int,
    temperature: jax.Array | float = 1.0,
    top_k: jax.Array | int = 0,
    top_p: jax.Array | float = 1.0,
    banned: Sequence[int] = (),
    end: int | None = None,
) -> Decoded:
    """Go on with some rows, token by token.

    A pure function of fixed shapes, to be called under ``jax.jit``. Nothing is cached between
    tokens: `next_logits` reads its whole context again for each, so n tokens cost n passes.

    Row r draws its token number t with ``fold_in(keys[r], t)``: what a row becomes depends on its
    own prompt and key, not on the rows beside it.

    Args:
      next_logits: the model.
      output_ids: int32 ``[V_out]``, the token id of each class.
      tokens: int32 ``[R, L]``, the prompts, with room for what is to come.
      lengths: int32 ``[R]``, ids in each prompt, from 1.
      keys: ``[R]`` random keys.
      max_tokens: tokens a row may gain, may be traced; it also stops where the row is full.
      temperature: see `sample`.
      top_k: see `sample`.
      top_p: see `sample`.
      banned: classes that are never drawn.
      end: the class that ends a row; None for none.

    Returns:
      A `Decoded`.
    """
    output_ids = jnp.asarray(output_ids, jnp.int32)
    size = tokens.shape[1]
    columns = jnp.arange(size)

    def going(state: tuple[jax.Array, Decoded]) -> jax.Array:
        count, rows = state
        open_rows = ~rows.ended & (rows.lengths < size)
        return (count < max_tokens) & jnp.any(open_rows)

    def draw(key: jax.Array, logits: jax.Array, count: jax.Array) -> jax.Array:
        return sample(
            jax.random.fold_in(key, count),
            logits,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            banned=banned,
        )

    def one_more(state: tuple[jax.Array, Decoded]) -> tuple[jax.Array, Decoded]:
        count, rows = state
        logits = next_logits(rows.tokens, rows.lengths)
        drawn = jax.vmap(draw, in_axes=(0, 0, None))(keys, logits, count)
        ended = rows.ended if end is None else rows.ended | (drawn == end)
        grows = ~ended & (rows.lengths < size)
        here = (columns == rows.lengths[:, None]) & grows[:, None]
        written = jnp.where(here, output_ids[drawn][:, None], rows.tokens)
        return count + 1, Decoded(written, rows.lengths + grows, ended)

    start = Decoded(
        jnp.asarray(tokens, jnp.int32),
        jnp.asarray(lengths, jnp.int32),
        jnp.zeros(tokens.shape[0], bool),
    )
    return jax.lax.while_loop(going, one_more, (jnp.zeros((), jnp.int32), start))[1]

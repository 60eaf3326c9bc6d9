"""The decoding loop: one token a row and step, until all rows have ended."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.generation.decodable import Decodable, take_rows
from mtljax.generation.processors import NOTHING, forbid_repeated_ngrams
from mtljax.generation.sampling import Sampling, choose


class Rows(NamedTuple):
    """Texts that are being written.

    Attributes:
      state: the model's, of the prompts and what was read since.
      logits: float32 ``[R, V]``, of the next class.
      context: int32 ``[R, H]``, classes of the prompts, -1 where there is none.
      tokens: int32 ``[R, N]``, classes that were chosen; -1 after the last.
      keys: ``[R]`` random keys.
      first: int32 ``[R]``, the number of a row's first choice.
      limits: int32 ``[R]``, tokens that a row may gain.
      lengths: int32 ``[R]``, tokens that it has gained.
      ended: bool ``[R]``, whether it came to an end mark.
      count: int32 scalar, choices that were made.
    """

    state: Any
    logits: jax.Array
    context: jax.Array
    tokens: jax.Array
    keys: jax.Array
    first: jax.Array
    limits: jax.Array
    lengths: jax.Array
    ended: jax.Array
    count: jax.Array

    @property
    def going(self) -> jax.Array:
        """Whether a row may gain another token: bool ``[R]``."""
        return ~self.ended & (self.count < self.limits)


class Decoded(NamedTuple):
    """What was decoded.

    Attributes:
      tokens: int32 ``[R, N]``, the classes that follow each prompt, without the end mark; -1 after
        the last.
      lengths: int32 ``[R]``, how many there are.
      ended: bool ``[R]``, whether the row came to its end mark.
    """

    tokens: jax.Array
    lengths: jax.Array
    ended: jax.Array


def begin(
    model: Decodable,
    params: Any,
    prompts: Any,
    keys: jax.Array,
    limits: jax.Array | int,
    room: int,
    *,
    context: jax.Array | None = None,
    first: jax.Array | int = 0,
    samples: int = 1,
) -> Rows:
    """Read some prompts.

    Args:
      model: the model.
      params: its parameters.
      prompts: what it reads, R rows.
      keys: ``[R * samples]`` random keys.
      limits: tokens that a row may gain, ``[R]`` or one for all.
      room: the most that any may, a Python number: the size of arrays.
      context: int32 ``[R, H]``, classes of the prompts, -1 where there is none; only repetition
        penalties and n-grams look at them.
      first: number of a row's first choice, ``[R]`` or one for all.
      samples: texts for each prompt, in rows one after another; the prompt is read once.

    Returns:
      `Rows` for `advance`.
    """
    state, logits = model.prefill(params, prompts, room)
    rows = logits.shape[0]
    seen = jnp.zeros((rows, 0), jnp.int32) if context is None else jnp.asarray(context, jnp.int32)
    most = jnp.minimum(jnp.broadcast_to(jnp.asarray(limits, jnp.int32), rows), room)
    start = jnp.broadcast_to(jnp.asarray(first, jnp.int32), rows)
    every = (state, jnp.asarray(logits, jnp.float32), seen, start, most)
    if samples > 1:
        every = take_rows(every, jnp.repeat(jnp.arange(rows), samples))
        rows *= samples
    state, logits, seen, start, most = every
    return Rows(
        state,
        logits,
        seen,
        jnp.full((rows, room), NOTHING, jnp.int32),
        keys,
        start,
        most,
        jnp.zeros(rows, jnp.int32),
        jnp.zeros(rows, bool),
        jnp.zeros((), jnp.int32),
    )


def advance(
    model: Decodable,
    params: Any,
    rows: Rows,
    how: Sampling = Sampling(),  # noqa: B008 - immutable
    *,
    until: jax.Array | int | None = None,
    banned: Sequence[int] = (),
    ends: Sequence[int] = (),
    no_repeat_ngram: int = 0,
) -> Rows:
    """Go on with some rows, token by token.

    A pure function of fixed shapes, to be called under ``jax.jit`` with `rows` donated. Called
    again it goes on where it was, as if it had not stopped.

    Row r makes its choice number t with ``fold_in(keys[r], first[r] + t)``: what a row becomes
    depends on its own prompt and key, not on the rows beside it.

    Args:
      model: the model.
      params: its parameters.
      rows: from `begin` or from here.
      how: the choice of a class.
      until: stop when so many choices were made, may be traced; by default when all have ended.
      banned: classes that are never chosen.
      ends: classes that end a row.
      no_repeat_ngram: n of the n-grams that a text may not have twice; 0 for any.

    Returns:
      The rows, further on.
    """
    until = rows.tokens.shape[1] if until is None else until
    fold = jax.vmap(jax.random.fold_in)

    def going(rows: Rows) -> jax.Array:
        return (rows.count < until) & jnp.any(rows.going)

    def one_more(rows: Rows) -> Rows:
        history = jnp.concatenate([rows.context, rows.tokens], axis=1)
        length = rows.context.shape[1] + rows.count
        logits = forbid_repeated_ngrams(rows.logits, history, length, no_repeat_ngram)
        keys = fold(rows.keys, rows.first + rows.count)
        chosen = choose(keys, logits, history, how, banned)
        ended = rows.ended | (rows.going & _is_one_of(chosen, ends))
        grows = rows.going & ~ended
        written = jnp.where(grows, chosen, NOTHING)[:, None]
        state, logits = model.step(params, rows.state, chosen, rows.count)
        return rows._replace(
            state=state,
            logits=jnp.asarray(logits, jnp.float32),
            tokens=jax.lax.dynamic_update_slice(rows.tokens, written, (0, rows.count)),
            lengths=rows.lengths + grows,
            ended=ended,
            count=rows.count + 1,
        )

    return jax.lax.while_loop(going, one_more, rows)


def decode(
    model: Decodable,
    params: Any,
    prompts: Any,
    keys: jax.Array,
    limits: jax.Array | int,
    room: int,
    how: Sampling = Sampling(),  # noqa: B008 - immutable
    *,
    context: jax.Array | None = None,
    samples: int = 1,
    banned: Sequence[int] = (),
    ends: Sequence[int] = (),
    no_repeat_ngram: int = 0,
) -> Decoded:
    """Go on with some prompts: `begin`, and `advance` to the end.

    Args:
      model: the model.
      params: its parameters.
      prompts: what it reads, R rows.
      keys: ``[R * samples]`` random keys.
      limits: tokens that a row may gain, ``[R]`` or one for all.
      room: the most that any may, a Python number.
      how: the choice of a class.
      context: see `begin`.
      samples: texts for each prompt, in rows one after another.
      banned: classes that are never chosen.
      ends: classes that end a row.
      no_repeat_ngram: see `advance`.

    Returns:
      A `Decoded` of ``R * samples`` rows.
    """
    rows = begin(model, params, prompts, keys, limits, room, context=context, samples=samples)
    rows = advance(
        model, params, rows, how, banned=banned, ends=ends, no_repeat_ngram=no_repeat_ngram
    )
    return Decoded(rows.tokens, rows.lengths, rows.ended)


def padded_length(length: int, least: int = 16) -> int:
    """The next power of two from `least` on, so that many lengths share few compiled shapes.

    >>> padded_length(3), padded_length(16), padded_length(33)
    (16, 16, 64)
    """
    return max(least, 1 << max(length - 1, 0).bit_length())


def _is_one_of(classes: jax.Array, some: Sequence[int]) -> jax.Array:
    return (
        jnp.isin(classes, jnp.asarray(some, jnp.int32)) if some else jnp.zeros_like(classes, bool)
    )

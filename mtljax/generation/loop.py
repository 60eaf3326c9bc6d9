"""The decoding loop: one token a row and step, until all rows have ended."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.generation.decodable import Decodable, take_rows
from mtljax.generation.processors import NOTHING, forbid_repeated_ngrams
from mtljax.generation.sampling import Sampling, choose


class Rows(NamedTuple):
    """Texts that are being written; the state of the decoding loop.

    Attributes:
      state: of the model, after the prompts and what was read since.
      logits: float32 ``[R, V]``, of the next class.
      context: int32 ``[R, H]``, classes of the prompts, -1 where there is none.
      tokens: int32 ``[R, N]``, classes that were chosen; -1 after the last.
      keys: ``[R]`` random keys.
      first: int32 ``[R]``, the index of a row's first choice, of its random keys.
      limits: int32 ``[R]``, tokens that a row may get.
      lengths: int32 ``[R]``, tokens that it has.
      ended: bool ``[R]``, whether an end mark was chosen.
      count: int32 scalar, number of choices so far.
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
        """Whether a row may get another token: bool ``[R]``."""
        return ~self.ended & (self.count < self.limits)


class Decoded(NamedTuple):
    """Decoded texts.

    Attributes:
      tokens: int32 ``[R, N]``, the classes that follow each prompt, without the end mark; -1 after
        the last.
      lengths: int32 ``[R]``, the number of classes.
      ended: bool ``[R]``, whether an end mark was chosen, rather than the limit reached.
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
      prompts: as `Decodable.prefill` takes them, R rows.
      keys: ``[R * samples]`` random keys.
      limits: tokens that a row may get, ``[R]`` or one for all.
      room: the largest limit, a Python number: the size of arrays.
      context: int32 ``[R, H]``, classes of the prompts, -1 where there is none; only repetition
        penalties and n-grams look at them.
      first: index of a row's first choice, ``[R]`` or one for all.
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
    """Continue some rows, token by token.

    A pure function of fixed shapes, to be called under ``jax.jit`` with `rows` donated. Several
    calls, each until a later choice, give what one call gives.

    Row r makes its choice t with ``fold_in(keys[r], first[r] + t)``: its text depends on its own
    prompt and key, not on the other rows.

    Args:
      model: the model.
      params: its parameters.
      rows: from `begin` or from here.
      how: the choice of a class.
      until: number of choices after which to stop, may be traced; by default when all have ended.
      banned: classes that are never chosen.
      ends: classes that end a row.
      no_repeat_ngram: n of the n-grams that a text may not have twice; 0 for any.

    Returns:
      The rows after these choices.
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
    """Continue some prompts: `begin`, and `advance` to the end.

    Args:
      model: the model.
      params: its parameters.
      prompts: as `Decodable.prefill` takes them, R rows.
      keys: ``[R * samples]`` random keys.
      limits: tokens that a row may get, ``[R]`` or one for all.
      room: the largest limit, a Python number.
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

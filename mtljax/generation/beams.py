"""Beam search with length normalisation, batched, in one loop of fixed shapes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.generation.decodable import Decodable, take_rows
from mtljax.generation.processors import (
    NOTHING,
    forbid,
    forbid_repeated_ngrams,
    penalize_repetition,
)


class Beams(NamedTuple):
    """The texts of a beam search, the best first.

    Attributes:
      tokens: int32 ``[R, returns, N]``, classes that follow each prompt, without the end mark; -1
        after the last.
      lengths: int32 ``[R, returns]``, the number of classes.
      scores: float32 ``[R, returns]``, log probability over ``length ** length_penalty``, the end
        mark counted in both; minus infinity where there is no such text.
      ended: bool ``[R, returns]``, whether an end mark was chosen, rather than the limit reached.
    """

    tokens: jax.Array
    lengths: jax.Array
    scores: jax.Array
    ended: jax.Array


class _Search(NamedTuple):
    state: Any  # of the model, R * K rows
    logits: jax.Array  # [R * K, V]
    tokens: jax.Array  # [R, K, N], of the beams
    sums: jax.Array  # [R, K], their log probabilities, the largest first
    done: Beams  # the K best that have ended
    closed: jax.Array  # [R], nothing changes any more
    full: jax.Array  # [R], closed before the limit
    count: jax.Array


def beam_search(
    model: Decodable,
    params: Any,
    prompts: Any,
    limits: jax.Array | int,
    room: int,
    beams: int,
    *,
    length_penalty: jax.Array | float = 1.0,
    returns: int = 1,
    repetition_penalty: jax.Array | float = 1.0,
    context: jax.Array | None = None,
    banned: Sequence[int] = (),
    ends: Sequence[int] = (),
    no_repeat_ngram: int = 0,
) -> Beams:
    """Look for the most probable texts that follow some prompts.

    Of each prompt the `beams` most probable unfinished texts are kept, the beams. A text is
    complete when one of the `ends` is among the `beams` most probable continuations; a row is
    closed when `beams` texts are complete, when no beam can overtake the `returns` best of them, or
    at its limit, where beams count as texts. One beam is greedy decoding; ``V ** limit`` beams are
    an exhaustive search.

    A text is scored by ``log p / length ** length_penalty`` (Wu et al. 2016, arXiv 1609.08144,
    section 7, with the plain power of the length). Probabilities are those of the model: what is
    forbidden or penalised does not make the rest more probable.

    Args:
      model: the model.
      params: its parameters.
      prompts: as `Decodable.prefill` takes them, R rows; they are read once, not once a beam.
      limits: tokens that a row may get, the end mark among them, ``[R]`` or one for all.
      room: the largest limit, a Python number.
      beams: unfinished texts that are kept of each prompt.
      length_penalty: 0 compares sums, which favours short texts; 1 means; more favours long ones.
      returns: texts of each prompt that are returned, at most `beams`.
      repetition_penalty: see `penalize_repetition`, here of log probabilities.
      context: int32 ``[R, H]``, classes of the prompts, -1 where there is none.
      banned: classes that are never chosen.
      ends: classes that end a text.
      no_repeat_ngram: n of the n-grams that a text may not have twice; 0 for any.

    Returns:
      `Beams`.

    Raises:
      ValueError: if `beams` or `returns` is out of range.
    """
    state, logits = model.prefill(params, prompts, room)
    rows, size = logits.shape
    if beams < 1:
        raise ValueError(f"beams must be at least 1, got {beams}")
    if not 1 <= returns <= beams:
        raise ValueError(f"returns must be in [1, beams], got {returns}")
    limits = jnp.minimum(jnp.broadcast_to(jnp.asarray(limits, jnp.int32), rows), room)
    penalty = jnp.asarray(length_penalty, jnp.float32)
    if context is None:
        context = jnp.zeros((rows, 0), jnp.int32)
    several = jnp.repeat(jnp.arange(rows), beams)
    context = jnp.asarray(context, jnp.int32)[several]
    most = min(beams * (1 + len(ends)), beams * size)

    def normalised(sums: jax.Array, length: jax.Array) -> jax.Array:
        length = jnp.maximum(length, 1).astype(jnp.float32)
        return sums / length**penalty

    def log_shares(search: _Search) -> jax.Array:
        shares = jax.nn.log_softmax(jnp.asarray(search.logits, jnp.float32), axis=-1)
        history = jnp.concatenate([context, search.tokens.reshape(rows * beams, room)], axis=1)
        length = context.shape[1] + search.count
        shares = penalize_repetition(shares, history, repetition_penalty)
        shares = forbid_repeated_ngrams(shares, history, length, no_repeat_ngram)
        return forbid(shares, banned).reshape(rows, beams, size)

    def going(search: _Search) -> jax.Array:
        return (search.count < room) & jnp.any(~search.closed)

    def one_more(search: _Search) -> _Search:
        count = search.count
        sums = (search.sums[..., None] + log_shares(search)).reshape(rows, beams * size)
        sums, at = jax.lax.top_k(sums, most)
        parents, classes = at // size, at % size
        is_end = jnp.isin(classes, jnp.asarray(ends, jnp.int32))
        complete = _chosen(search.tokens, parents[:, :beams])
        score = jnp.where(is_end[:, :beams], normalised(sums[:, :beams], count + 1), -jnp.inf)
        here = jnp.full((rows, beams), count)
        done = _best(search.done, Beams(complete, here, score, is_end[:, :beams]), beams)
        # The next beams: at most one candidate is an end, for each beam and end mark.
        sums, kept = jax.lax.top_k(jnp.where(is_end, -jnp.inf, sums), beams)
        parents, classes = (jnp.take_along_axis(x, kept, axis=1) for x in (parents, classes))
        tokens = _chosen(search.tokens, parents)
        tokens = jax.lax.dynamic_update_slice(tokens, classes[..., None], (0, 0, count))
        # A longer text may score higher or lower, by the sign of the penalty.
        reach = jnp.where(penalty >= 0, limits, count + 1)
        attainable = normalised(sums[:, 0], reach)
        full = jnp.isfinite(done.scores[:, -1]) | (done.scores[:, returns - 1] >= attainable)
        old, closed = search.closed, search.closed | full | (count + 1 >= limits)
        tokens, sums, done, full = _where(
            old, (search.tokens, search.sums, search.done, search.full), (tokens, sums, done, full)
        )
        state = model.choose(search.state, parents)
        state, logits = model.step(params, state, classes.reshape(-1), count)
        return _Search(state, logits, tokens, sums, done, closed, full, count + 1)

    empty = jnp.full((rows, beams, room), NOTHING, jnp.int32)
    none = jnp.full((rows, beams), -jnp.inf, jnp.float32)
    no_text = Beams(empty, jnp.zeros((rows, beams), jnp.int32), none, jnp.zeros_like(none, bool))
    search = _Search(
        model.fork(state, beams),
        take_rows(logits, several),
        empty,
        none.at[:, 0].set(0.0),
        no_text,
        limits <= 0,
        jnp.zeros(rows, bool),
        jnp.zeros((), jnp.int32),
    )
    search = jax.lax.while_loop(going, one_more, search)
    length = jnp.broadcast_to(limits[:, None], (rows, beams))
    unfinished = jnp.where(search.full[:, None], -jnp.inf, normalised(search.sums, length))
    rest = Beams(search.tokens, length, unfinished, jnp.zeros_like(search.done.ended))
    return jax.tree.map(lambda x: x[:, :returns], _best(search.done, rest, beams))


def _chosen(tokens: jax.Array, parents: jax.Array) -> jax.Array:
    return jnp.take_along_axis(tokens, parents[..., None], axis=1)


def _best(a: Beams, b: Beams, count: int) -> Beams:
    both = jax.tree.map(lambda x, y: jnp.concatenate([x, y], axis=1), a, b)
    scores, at = jax.lax.top_k(both.scores, count)
    return Beams(
        _chosen(both.tokens, at),
        jnp.take_along_axis(both.lengths, at, axis=1),
        scores,
        jnp.take_along_axis(both.ended, at, axis=1),
    )


def _where(rows: jax.Array, old: Any, new: Any) -> Any:
    def chosen(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.where(rows.reshape(-1, *(1,) * (x.ndim - 1)), x, y)

    return jax.tree.map(chosen, old, new)

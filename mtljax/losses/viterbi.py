"""The best tags of packed texts."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.losses.chains import Transitions, chains


def viterbi(scores: ArrayLike, texts: ArrayLike, transitions: Transitions) -> jax.Array:
    """The tags of each text whose scores have the largest sum (Viterbi 1967).

    With transitions of 0 and minus infinity: the best of the sequences that are allowed.

    Args:
      scores: ``[..., S, K]``, as for `crf`.
      texts: ``[..., S]``, as for `crf`.
      transitions: as for `crf`.

    Returns:
      int32 ``[..., S]``; 0 where there is no text. Of equal sums the tags that are first, from the
      begin of a text.

    Raises:
      TypeError, ValueError: as `crf`.

    >>> never_again = Transitions(jnp.array([[0, 0], [0, -jnp.inf]]), jnp.zeros(2), jnp.zeros(2))
    >>> viterbi(jnp.array([[0.0, 2.0], [0.0, 1.0]]), jnp.array([1, 1]), never_again)
    Array([1, 0], dtype=int32)
    """
    chain = chains(scores, texts, transitions)
    tags = chain.scores.shape[-1]

    def best_after(after: jax.Array, inputs: tuple[jax.Array, ...]):
        scores, inside, last = inputs
        ahead = chain.steps + (scores + jnp.where(last, chain.end, after))[:, None]
        best = jnp.max(ahead[:, :-1], axis=-1)
        # Around their largest, so that long texts do not lose digits.
        top = jnp.max(best, axis=-1, keepdims=True)
        before = best - jnp.where(jnp.isfinite(top), top, 0)
        return jnp.where(inside, before, after), jnp.argmax(ahead, axis=-1).astype(jnp.int32)

    def follow(tag: jax.Array, inputs: tuple[jax.Array, ...]):
        best, inside, first = inputs
        before = jnp.where(first, tags, tag)
        tag = jnp.where(inside, jnp.take_along_axis(best, before[:, None], axis=1)[:, 0], tag)
        return tag, tag

    scores, inside, last, first = (
        jnp.swapaxes(part, 0, 1) for part in (chain.scores, chain.inside, chain.last, chain.first)
    )
    after, flags = jnp.zeros_like(scores[0]), (inside[..., None], last[..., None])
    _, best = jax.lax.scan(best_after, after, (scores, *flags), reverse=True)
    none = jnp.zeros(scores.shape[1], jnp.int32)
    _, found = jax.lax.scan(follow, none, (best, inside, first))
    found = jnp.where(chain.inside, jnp.swapaxes(found, 0, 1), 0)
    return found.reshape(chain.shape)

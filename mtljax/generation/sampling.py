"""Choosing the next class from its logits: greedily, or by a draw."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.generation.processors import (
    forbid,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalize_repetition,
    scale,
)


class Sampling(NamedTuple):
    """How a class is drawn; numbers that may be traced.

    Attributes:
      temperature: from 0, which takes the most probable class.
      top_k: classes to draw from; 0 for all.
      top_p: probability of the classes to draw from, in (0, 1]; 1 for all.
      min_p: least probability of a class, as a share of that of the most probable, in [0, 1].
      repetition_penalty: of classes that stand in the text already, above 0; 1 for none.
    """

    temperature: jax.Array | float = 1.0
    top_k: jax.Array | int = 0
    top_p: jax.Array | float = 1.0
    min_p: jax.Array | float = 0.0
    repetition_penalty: jax.Array | float = 1.0


GREEDY = Sampling(temperature=0.0)
"""The most probable class, always."""


def filter_logits(
    logits: jax.Array,
    *,
    top_k: jax.Array | int = 0,
    top_p: jax.Array | float = 1.0,
    min_p: jax.Array | float = 0.0,
    banned: Sequence[int] = (),
) -> jax.Array:
    """Set the logits of classes that must not be drawn to minus infinity.

    Banned classes go first, then all but the ``top_k`` most probable, then all but the smallest set
    of most probable classes that hold ``top_p`` of what is left, then those less probable than
    ``min_p`` times the most probable. The most probable class that is not banned always stays.

    Args:
      logits: float ``[..., V]``.
      top_k: classes to keep, may be traced; 0 for all.
      top_p: probability to keep, in (0, 1], may be traced; 1 for all.
      min_p: least share of the largest probability, in [0, 1], may be traced; 0 for all.
      banned: classes that are never drawn, fewer than V.

    Returns:
      float32 ``[..., V]``.

    >>> filter_logits(jnp.log(jnp.array([0.5, 0.3, 0.2])), top_p=0.7)
    Array([-0.6931472, -1.2039728,       -inf], dtype=float32)
    """
    kept = keep_top_p(keep_top_k(forbid(logits, banned), top_k), top_p)
    return keep_min_p(kept, min_p)


def sample(
    key: jax.Array,
    logits: jax.Array,
    *,
    temperature: jax.Array | float = 1.0,
    top_k: jax.Array | int = 0,
    top_p: jax.Array | float = 1.0,
    min_p: jax.Array | float = 0.0,
    banned: Sequence[int] = (),
) -> jax.Array:
    """Draw a class from logits.

    The logits are divided by the temperature, filtered by `filter_logits`, and a class is drawn
    with the probabilities of their softmax.

    Args:
      key: a random key, one draw for all leading axes, or keys ``[R]`` for logits ``[R, V]``.
      logits: float ``[..., V]``.
      temperature: from 0, may be traced; 0 takes the most probable class.
      top_k: classes to draw from, may be traced; 0 for all.
      top_p: probability of the classes to draw from, in (0, 1], may be traced; 1 for all.
      min_p: least share of the largest probability, in [0, 1], may be traced; 0 for all.
      banned: classes that are never drawn.

    Returns:
      int32 ``[...]``.

    >>> int(sample(jax.random.key(0), jnp.array([0.0, 3.0, 1.0]), temperature=0.0, banned=(1,)))
    2
    """
    how = Sampling(temperature, top_k, top_p, min_p)
    return _drawn(key, forbid(logits, banned), how)


@jax.jit
def _drawn(key: jax.Array, logits: jax.Array, how: Sampling) -> jax.Array:
    temperature = jnp.asarray(how.temperature, jnp.float32)

    def draw(logits: jax.Array) -> jax.Array:
        scaled = scale(logits, temperature)
        kept = filter_logits(scaled, top_k=how.top_k, top_p=how.top_p, min_p=how.min_p)
        if jnp.ndim(key):
            return jax.vmap(jax.random.categorical)(key, kept)
        return jax.random.categorical(key, kept, axis=-1)

    def best(logits: jax.Array) -> jax.Array:
        return jnp.argmax(logits, axis=-1)

    return jax.lax.cond(temperature > 0, draw, best, logits).astype(jnp.int32)


def choose(
    keys: jax.Array,
    logits: jax.Array,
    history: jax.Array,
    how: Sampling,
    banned: Sequence[int] = (),
) -> jax.Array:
    """Choose the next class of several rows.

    Args:
      keys: ``[R]`` random keys.
      logits: float ``[R, V]``.
      history: int32 ``[R, N]``, classes of the text so far, -1 where there is none.
      how: the settings.
      banned: classes that are never chosen.

    Returns:
      int32 ``[R]``.
    """
    return sample(
        keys,
        penalize_repetition(logits, history, how.repetition_penalty),
        temperature=how.temperature,
        top_k=how.top_k,
        top_p=how.top_p,
        min_p=how.min_p,
        banned=banned,
    )

"""Choosing the next class from its logits: temperature, top-k, top-p, banned classes."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def filter_logits(
    logits: jax.Array,
    *,
    top_k: jax.Array | int = 0,
    top_p: jax.Array | float = 1.0,
    banned: Sequence[int] = (),
) -> jax.Array:
    """Set the logits of classes that must not be drawn to minus infinity.

    Banned classes go first, then all but the ``top_k`` most probable, then all but the smallest set
    of most probable classes that hold ``top_p`` of what is left (nucleus sampling, Holtzman et al.
    2020, arXiv 1904.09751). Of equal logits the lower class counts as the more probable, so that
    ``top_k`` keeps exactly k. The most probable class that is not banned always stays.

    Args:
      logits: float ``[..., V]``.
      top_k: classes to keep, may be traced; 0 for all.
      top_p: probability to keep, in (0, 1], may be traced; 1 for all.
      banned: classes that are never drawn, fewer than V.

    Returns:
      float32 ``[..., V]``.

    >>> filter_logits(jnp.log(jnp.array([0.5, 0.3, 0.2])), top_p=0.7)
    Array([-0.6931472, -1.2039728,       -inf], dtype=float32)
    """
    logits = jnp.asarray(logits, jnp.float32)
    if banned:
        logits = logits.at[..., jnp.asarray(banned)].set(-jnp.inf)
    # Everything is decided in the order of probability, and taken back by each class's rank.
    order = jnp.argsort(-logits, axis=-1, stable=True)
    rank = jnp.argsort(order, axis=-1)
    ordered = jnp.take_along_axis(logits, order, axis=-1)
    size = logits.shape[-1]
    k = jnp.where(jnp.asarray(top_k) > 0, jnp.asarray(top_k), size)
    kept = jnp.arange(size) < k
    shares = jax.nn.softmax(jnp.where(kept, ordered, -jnp.inf), axis=-1)
    before = jnp.cumsum(shares, axis=-1) - shares
    p = jnp.asarray(top_p, jnp.float32)
    # Rounding must not take the last classes when p is 1.
    kept &= (before < p) | (p >= 1)
    kept |= jnp.arange(size) == 0
    return jnp.where(jnp.take_along_axis(kept, rank, axis=-1), logits, -jnp.inf)


def sample(
    key: jax.Array,
    logits: jax.Array,
    *,
    temperature: jax.Array | float = 1.0,
    top_k: jax.Array | int = 0,
    top_p: jax.Array | float = 1.0,
    banned: Sequence[int] = (),
) -> jax.Array:
    """Draw a class from logits.

    The logits are divided by the temperature, filtered by `filter_logits`, and a class is drawn
    with the probabilities of their softmax.

    Args:
      key: a random key, one draw for all leading axes (``vmap`` over keys for one each).
      logits: float ``[..., V]``.
      temperature: from 0, may be traced; 0 takes the most probable class.
      top_k: classes to draw from, may be traced; 0 for all.
      top_p: probability of the classes to draw from, in (0, 1], may be traced; 1 for all.
      banned: classes that are never drawn.

    Returns:
      int32 ``[...]``.

    >>> int(sample(jax.random.key(0), jnp.array([0.0, 3.0, 1.0]), temperature=0.0, banned=(1,)))
    2
    """
    logits = jnp.asarray(logits, jnp.float32)
    temperature = jnp.asarray(temperature, jnp.float32)
    # The largest logit becomes 0, so that a tiny temperature gives no infinity minus infinity.
    shifted = logits - jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))
    scaled = shifted / jnp.maximum(temperature, jnp.finfo(jnp.float32).tiny)
    scaled = jnp.where(temperature > 0, scaled, shifted)
    kept = filter_logits(scaled, top_k=top_k, top_p=top_p, banned=banned)
    drawn = jax.random.categorical(key, kept, axis=-1)
    best = jnp.argmax(kept, axis=-1)
    return jnp.where(temperature > 0, drawn, best).astype(jnp.int32)

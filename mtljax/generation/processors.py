"""Logits processors: pure functions of the next class's logits, before one is chosen.

All take float ``[..., V]`` and return float32 of the same shape; settings may be traced, so that
one compiled program serves all of their values. Minus infinity is the logit of a class that must
not be chosen. Those that search are compiled, so that they are quick outside of ``jax.jit`` too.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from mtljax.generation.cutoff import keep_largest, order_keys

NOTHING = -1
"""The entry of a history where there is no class."""


def forbid(logits: jax.Array, classes: Sequence[int]) -> jax.Array:
    """Never choose some classes.

    Args:
      logits: ``[..., V]``.
      classes: fewer than V of them.

    >>> forbid(jnp.array([1.0, 2.0]), [1]).tolist()
    [1.0, -inf]
    """
    logits = jnp.asarray(logits, jnp.float32)
    return logits.at[..., jnp.asarray(classes, jnp.int32)].set(-jnp.inf) if classes else logits


def scale(logits: jax.Array, temperature: jax.Array | float) -> jax.Array:
    """Divide by a temperature.

    Args:
      logits: ``[..., V]``.
      temperature: from 0; below 1 sharpens the distribution. 0 only shifts the logits: to take the
        most probable class is up to the caller.

    Returns:
      Logits whose largest is 0.

    >>> scale(jnp.array([1.0, 2.0]), 0.5).tolist()
    [-2.0, 0.0]
    """
    logits = jnp.asarray(logits, jnp.float32)
    temperature = jnp.asarray(temperature, jnp.float32)
    # The largest logit becomes 0, so that a tiny temperature gives no infinity minus infinity.
    shifted = logits - jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))
    scaled = shifted / jnp.maximum(temperature, jnp.finfo(jnp.float32).tiny)
    return jnp.where(temperature > 0, scaled, shifted)


@jax.jit
def keep_top_k(logits: jax.Array, k: jax.Array | int) -> jax.Array:
    """Keep the k most probable classes.

    Of equal logits the lower class counts as the more probable, so that exactly k are kept.

    Args:
      logits: ``[..., V]``.
      k: how many; 0 keeps all.

    >>> keep_top_k(jnp.array([1.0, 3.0, 2.0]), 2).tolist()
    [-inf, 3.0, 2.0]
    """

    def cut(logits: jax.Array) -> jax.Array:
        def count(mask: jax.Array) -> jax.Array:
            return mask.sum(-1, keepdims=True)

        kept = keep_largest(
            order_keys(logits),
            enough=lambda mask: count(mask) >= k,
            ties=lambda above, at: k - count(above),
        )
        return jnp.where(kept, logits, -jnp.inf)

    k, logits = jnp.asarray(k), jnp.asarray(logits, jnp.float32)
    return jax.lax.cond((k > 0) & (k < logits.shape[-1]), cut, lambda x: x, logits)


@jax.jit
def keep_top_p(logits: jax.Array, p: jax.Array | float) -> jax.Array:
    """Keep the smallest set of most probable classes that hold a probability.

    Nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751). Of equal logits the lower class
    counts as the more probable; the most probable class always stays.

    Args:
      logits: ``[..., V]``.
      p: the probability, in (0, 1]; 1 keeps all.

    >>> keep_top_p(jnp.log(jnp.array([0.5, 0.3, 0.2])), 0.7)
    Array([-0.6931472, -1.2039728,       -inf], dtype=float32)
    """

    def cut(logits: jax.Array) -> jax.Array:
        shares = jax.nn.softmax(logits, axis=-1)

        def held(mask: jax.Array) -> jax.Array:
            return jnp.where(mask, shares, 0).sum(-1, keepdims=True)

        def ties(above: jax.Array, at: jax.Array) -> jax.Array:
            share = jnp.where(at, shares, 0).max(-1, keepdims=True)
            return jnp.maximum(jnp.ceil((p - held(above)) / share), 1)

        kept = keep_largest(order_keys(logits), lambda mask: held(mask) >= p, ties)
        return jnp.where(kept, logits, -jnp.inf)

    p, logits = jnp.asarray(p, jnp.float32), jnp.asarray(logits, jnp.float32)
    # Rounding must not take the last classes when p is 1.
    return jax.lax.cond(p < 1, cut, lambda x: x, logits)


def keep_min_p(logits: jax.Array, p: jax.Array | float) -> jax.Array:
    """Keep the classes that are at least p times as probable as the most probable one.

    Nguyen et al. 2025, "Turning up the heat", arXiv 2407.01082.

    Args:
      logits: ``[..., V]``.
      p: the share, in [0, 1]; 0 keeps all.

    >>> keep_min_p(jnp.log(jnp.array([0.5, 0.3, 0.2])), 0.5)
    Array([-0.6931472, -1.2039728,       -inf], dtype=float32)
    """
    logits = jnp.asarray(logits, jnp.float32)
    least = logits.max(-1, keepdims=True) + jnp.log(jnp.asarray(p, jnp.float32))
    return jnp.where(logits >= least, logits, -jnp.inf)


@jax.jit
def penalize_repetition(
    logits: jax.Array, history: jax.Array, penalty: jax.Array | float
) -> jax.Array:
    """Make classes less probable that stand in the text already.

    Their logits are divided by the penalty where positive, multiplied where negative (Keskar et al.
    2019, CTRL, arXiv 1909.05858, section 4.1).

    Args:
      logits: ``[..., V]``.
      history: int32 ``[..., N]``, classes of the text; `NOTHING` (-1) where there is none.
      penalty: above 0; 1 changes nothing, more discourages, less encourages.

    >>> penalize_repetition(jnp.array([2.0, -2.0, 1.0]), jnp.array([0, 1, -1]), 2.0).tolist()
    [1.0, -4.0, 1.0]
    """

    def changed(logits: jax.Array) -> jax.Array:
        size = logits.shape[-1]
        # `NOTHING` is written past the end, and dropped.
        at = jnp.where(history < 0, size, history)
        flat, at = logits.reshape(-1, size), at.reshape(-1, at.shape[-1])
        rows = jnp.arange(flat.shape[0])[:, None]
        seen = jnp.zeros(flat.shape, bool).at[rows, at].set(True, mode="drop")
        seen = seen.reshape(logits.shape)
        punished = jnp.where(logits > 0, logits / penalty, logits * penalty)
        return jnp.where(seen, punished, logits)

    logits, penalty = jnp.asarray(logits, jnp.float32), jnp.asarray(penalty, jnp.float32)
    return jax.lax.cond(penalty != 1, changed, lambda x: x, logits)


def forbid_repeated_ngrams(
    logits: jax.Array, history: jax.Array, length: jax.Array | int, size: int
) -> jax.Array:
    """Never choose the class that would complete an n-gram the text has already.

    Paulus et al. 2018, arXiv 1705.04304, section 2.5.

    Args:
      logits: ``[..., V]``.
      history: int32 ``[..., N]``, classes of the text; `NOTHING` (-1) where there is none.
      length: columns of `history` that are written, the newest class in the last of them.
      size: the n, from 1; 0 forbids nothing.

    >>> history = jnp.array([5, 7, 2, 5, -1])
    >>> forbid_repeated_ngrams(jnp.zeros(8), history, 4, size=2).argmin()
    Array(7, dtype=int32)
    """
    logits = jnp.asarray(logits, jnp.float32)
    columns = history.shape[-1]
    if size < 1 or columns < size:
        return logits
    starts = columns - size + 1
    length = jnp.asarray(length)
    repeats = jnp.arange(starts) + size <= length
    for i in range(size - 1):
        # The last size - 1 classes, against those that begin at every column.
        newest = jnp.take(history, length - (size - 1) + i, axis=-1, mode="clip")[..., None]
        repeats = repeats & (history[..., i : i + starts] == newest) & (newest >= 0)
    repeats = repeats & (length >= size - 1)
    last = history[..., size - 1 :]
    at = jnp.where(repeats & (last >= 0), last, logits.shape[-1])
    flat, at = logits.reshape(-1, logits.shape[-1]), at.reshape(-1, starts)
    rows = jnp.arange(flat.shape[0])[:, None]
    return flat.at[rows, at].set(-jnp.inf, mode="drop").reshape(logits.shape)

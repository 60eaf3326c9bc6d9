"""Rates on the simplex: multiplicative updates, and floors below which no rate falls."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.mixtures.contract import Array

_LARGEST = 1e4  # e to the minus this is 0 in any dtype


def namespace(*arrays: Any) -> Any:
    """`jax.numpy` where one of the arrays is JAX's or traced, else `numpy`."""
    leaves = jax.tree.leaves(arrays)
    return jnp if any(isinstance(leaf, jax.Array) for leaf in leaves) else np


def softmax(values: Array) -> Array:
    """``exp(v) / sum(exp(v))`` of ``[K]``, without overflow."""
    xp = namespace(values)
    powers = xp.exp(values - xp.max(values))
    return powers / xp.sum(powers)


def tilted(rates: Array, scores: Array) -> Array:
    r"""One step of mirror descent on the simplex, :math:`p_k \propto p_k \exp(s_k)`, in log space.

    Args:
      rates: ``[K]``, positive where a group may have a share again.
      scores: ``[K]``, finite; differences beyond 1e4 count as such.

    Returns:
      Rates ``[K]`` that sum to 1.

    >>> tilted(np.array([0.5, 0.5]), np.array([np.log(3), 0.0])).round(3).tolist()
    [0.75, 0.25]
    """
    xp = namespace(rates, scores)
    scores = xp.clip(scores - xp.max(scores), -_LARGEST, 0)
    tiny = xp.finfo(rates.dtype).tiny
    return softmax(xp.log(xp.maximum(rates, tiny)) + scores)


def floored(rates: Array, floor: float, mask: Array | None = None) -> Array:
    r"""The nearest rates, by Kullback-Leibler divergence, that are at least ``floor / K`` each.

    :math:`p_k = \max(c / K, s q_k)` with the `s` that makes them sum to what they summed to: what a
    multiplicative update is followed by on the simplex with floors. Rates above the floor keep
    their proportions, and rates that are above it all do not change.

    Args:
      rates: ``[K]``, not negative.
      floor: `c`, in [0, 1].
      mask: ``[K]`` boolean, the groups whose rates may change; all by default.

    Returns:
      Rates ``[K]``.

    >>> floored(np.array([0.9, 0.1, 0.0]), 0.3).round(3).tolist()
    [0.8, 0.1, 0.1]
    """
    xp = namespace(rates, mask)
    mask = xp.ones(rates.shape, bool) if mask is None else mask
    least = floor / rates.shape[0]
    present = xp.sum(mask)
    free = xp.where(mask, rates, 0)
    # With the n largest above the floor, the factor is what the others leave over their sum.
    largest = -xp.sort(-free)
    number = xp.arange(1, rates.shape[0] + 1)
    sums = xp.cumsum(largest)
    left = xp.sum(free) - (present - number) * least
    factors = left / xp.where(sums > 0, sums, 1)
    fits = (factors * largest >= least) & (number <= present)
    count = xp.max(xp.where(fits, number, 1))
    return xp.where(mask, xp.maximum(least, factors[count - 1] * free), rates)

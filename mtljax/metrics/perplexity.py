"""Perplexity of a language model."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.metrics.states import Perplexity, counted


def perplexity(values: ArrayLike, weights: ArrayLike | None = None) -> Perplexity:
    """Sums negative log likelihoods; the figure is ``exp`` of their mean.

    Args:
      values: negative log likelihoods ``[...]`` in nats, as from `mtljax.losses.softmax`.
      weights: ``[...]``, 0 where nothing is to be counted, or None for ones.

    Returns:
      A `Perplexity` state.

    Raises:
      ValueError: shapes differ.

    >>> from mtljax.metrics import compute
    >>> compute(perplexity(jnp.log(jnp.array([2.0, 8.0]))))
    Array(4., dtype=float32)
    """
    return Perplexity(*counted(jnp.asarray(values), weights, "values"))

"""The weighted mean, the one reduction of losses."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.losses.checks import as_float, as_real, check_shape


def weighted_mean(values: ArrayLike, weights: ArrayLike) -> jax.Array:
    r"""Weighted mean :math:`\sum_j a_j v_j / \sum_j a_j` over all elements.

    Elements of weight 0 are ignored: whatever their value, NaN and infinity included, it reaches
    neither the mean nor the gradient. If all weights are 0, so are mean and gradient.

    Args:
      values: losses ``[...]``, floating point.
      weights: ``[...]``, the same shape, non-negative: 0 for padding and missing targets, else
        the weight of the sample.

    Returns:
      A scalar, float32 or wider.

    Raises:
      TypeError: values not floating point, or complex weights.
      ValueError: shapes differ.

    >>> weighted_mean(jnp.array([1.0, 3.0, jnp.nan]), jnp.array([1.0, 3.0, 0.0]))
    Array(2.5, dtype=float32)
    """
    losses = as_float("values", values)
    shares = as_real("weights", weights, losses.dtype)
    check_shape("weights", shares, losses.shape, "that of values")
    total = jnp.sum(shares)
    counted = jnp.where(shares != 0, losses, 0)
    return jnp.sum(shares * counted) / jnp.where(total == 0, 1, total)

"""Squared error."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.losses.checks import as_float, as_real, check_shape


def squared(predictions: ArrayLike, targets: ArrayLike) -> jax.Array:
    """Squared error ``(predictions - targets) ** 2``, without a factor of one half.

    Args:
      predictions: ``[...]``, floating point.
      targets: ``[...]``, real, in the same units.

    Returns:
      Losses ``[...]`` in squared units, float32 or wider.

    Raises:
      TypeError: predictions not floating point, or complex targets.
      ValueError: shapes differ.

    >>> squared(jnp.array([1.0, -2.0]), jnp.array([0.0, 1.0]))
    Array([1., 9.], dtype=float32)
    """
    values = as_float("predictions", predictions)
    goals = as_real("targets", targets, values.dtype)
    check_shape("targets", goals, values.shape, "that of predictions")
    return jnp.square(values - goals)

"""Absolute error."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.losses.checks import as_float, as_real, check_shape


def absolute(predictions: ArrayLike, targets: ArrayLike) -> jax.Array:
    """Absolute error ``|predictions - targets|``; the subgradient at 0 is 0.

    Args:
      predictions: ``[...]``, floating point.
      targets: ``[...]``, real, in the same units.

    Returns:
      Losses ``[...]`` in those units, float32 or wider.

    Raises:
      TypeError: predictions not floating point, or complex targets.
      ValueError: shapes differ.

    >>> absolute(jnp.array([1.0, -2.0]), jnp.array([0.0, 1.0]))
    Array([1., 3.], dtype=float32)
    """
    values = as_float("predictions", predictions)
    goals = as_real("targets", targets, values.dtype)
    check_shape("targets", goals, values.shape, "that of predictions")
    error = values - goals
    # JAX takes 1 for the derivative of abs at 0, which would move a prediction that is exact.
    return jnp.where(error == 0, 0, jnp.abs(error))

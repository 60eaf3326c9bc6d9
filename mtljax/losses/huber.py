"""Huber loss."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.losses.checks import as_float, as_real, check_interval, check_shape


def huber(predictions: ArrayLike, targets: ArrayLike, delta: ArrayLike = 1.0) -> jax.Array:
    r"""Quadratic near the target, linear beyond `delta` (Huber, Ann. Math. Statist. 1964).

    With :math:`e = |p - t|`: :math:`e^2/2` where :math:`e \le \delta`, else
    :math:`\delta (e - \delta/2)`.

    Args:
      predictions: ``[...]``, floating point.
      targets: ``[...]``, real, in the same units.
      delta: where the two parts meet, in the same units, positive and finite.

    Returns:
      Losses ``[...]``, float32 or wider.

    Raises:
      TypeError: predictions not floating point, or complex targets.
      ValueError: shapes differ, or `delta` is not positive and finite.

    >>> huber(jnp.array([0.5, 3.0]), jnp.zeros(2))
    Array([0.125, 2.5  ], dtype=float32)
    """
    values = as_float("predictions", predictions)
    goals = as_real("targets", targets, values.dtype)
    check_shape("targets", goals, values.shape, "that of predictions")
    check_interval("delta", delta, 0.0, math.inf, open_ends=True)
    error = jnp.abs(values - goals)
    near = jnp.minimum(error, delta)
    return (near * (error - near / 2)).astype(values.dtype)

"""Arithmetic with vectors of length 1, which neither overflows nor underflows.

Gram matrices are solved for unit gradients, whose cosines any float can hold; the weights of the
gradients themselves follow from the norms.
"""

import jax
import jax.numpy as jnp


def unit_vector(vector: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns a vector ``[T]`` divided by its length, and the length; zeros stay zeros.

    No square overflows or underflows; the length of finite numbers may still be infinite.
    """
    largest = jnp.max(jnp.abs(vector))
    nonzero = largest >= jnp.finfo(vector.dtype).tiny
    scaled = jnp.where(nonzero, vector / jnp.where(nonzero, largest, 1), 0)
    length = jnp.sqrt(jnp.sum(scaled**2))
    return scaled / jnp.where(nonzero, length, 1), largest * length


def active_norms(norms: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns which norms ``[T]`` are above zero, and the norms relative to the largest one.

    Relative norms are within [0, 1]; all zero if the norms are.
    """
    largest = jnp.max(norms)
    return norms > 0, norms / jnp.where(largest > 0, largest, 1)


def from_unit_weights(unit_weights: jax.Array, norms: jax.Array) -> jax.Array:
    """Returns ``y / n`` ``[T]``, 0 where the norm is 0, and the largest number for what exceeds it.

    A sum of ``y_i`` times the unit gradients is a sum of ``y_i / n_i`` times the gradients.
    """
    limit = jnp.finfo(norms.dtype).max
    weights = unit_weights / jnp.where(norms > 0, norms, 1)
    return jnp.where(norms > 0, jnp.clip(weights, -limit, limit), 0)


def from_unit_coefficients(coefficients: jax.Array, norms: jax.Array) -> jax.Array:
    """Sums changed unit gradients, each brought back to the norm that it had.

    Args:
      coefficients: ``[T, T]``; row i holds the i-th changed unit gradient in terms of the unit
        gradients.
      norms: ``[T]``.

    Returns:
      Weights of the gradients ``[T]``: ``sum_i n_i coefficients_ij / n_j``.
    """
    limits = jnp.finfo(norms.dtype)
    safe = jnp.where(norms > 0, norms, 1)
    ratios = jnp.minimum(norms[:, None] / safe, limits.max * limits.eps)
    ratios = jnp.where(jnp.eye(norms.size, dtype=bool), 1, ratios)
    weights = jnp.sum(coefficients * ratios, axis=0)
    return jnp.clip(weights, -limits.max, limits.max)

"""From weights of unit gradients to weights of the gradients."""

import jax
import jax.numpy as jnp


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

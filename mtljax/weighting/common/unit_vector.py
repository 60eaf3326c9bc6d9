"""The direction of a vector."""

import jax
import jax.numpy as jnp


def unit_vector(vector: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns a vector ``[T]`` divided by its length, and the length; zeros stay zeros.

    Neither overflows nor underflows on the way: the length of what a float can hold may still be
    infinite.
    """
    largest = jnp.max(jnp.abs(vector))
    some = largest >= jnp.finfo(vector.dtype).tiny
    scaled = jnp.where(some, vector / jnp.where(some, largest, 1), 0)
    length = jnp.sqrt(jnp.sum(scaled**2))
    return scaled / jnp.where(some, length, 1), largest * length

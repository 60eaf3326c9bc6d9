"""The largest values of an array, without sorting it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

_BITS = 32


def order_keys(x: jax.Array) -> jax.Array:
    """uint32 keys in the order of float32 numbers, equal where they are equal.

    >>> order_keys(jnp.array([-jnp.inf, -1.0, -0.0, 0.0, 2.0])).argsort().tolist()
    [0, 1, 2, 3, 4]
    """
    bits = jax.lax.bitcast_convert_type(jnp.where(x == 0, 0.0, x), jnp.uint32)
    return jnp.where(bits >> 31 > 0, ~bits, bits | jnp.uint32(1 << 31))


def keep_largest(
    keys: jax.Array,
    enough: Callable[[jax.Array], jax.Array],
    ties: Callable[[jax.Array, jax.Array], jax.Array],
) -> jax.Array:
    """Mark the largest keys that together are enough.

    The threshold is found bit by bit, in 32 passes over the array: sorting takes far longer on a
    CPU.

    Args:
      keys: uint32 ``[..., V]``, from `order_keys`.
      enough: from a mask ``[..., V]`` of all keys from some value on to bool ``[..., 1]``, whether
        they suffice; where it is true of some keys, it must be of more.
      ties: from the masks of the keys above the threshold, and of those equal to it, to the number
        ``[..., 1]`` of the latter that are kept, the first ones.

    Returns:
      bool ``[..., V]``; all true where all keys are not enough.
    """

    def raise_threshold(i: jax.Array, threshold: jax.Array) -> jax.Array:
        higher = threshold | (jnp.uint32(1) << (_BITS - 1 - i).astype(jnp.uint32))
        return jnp.where(enough(keys >= higher), higher, threshold)

    threshold = jnp.zeros((*keys.shape[:-1], 1), jnp.uint32)
    threshold = jax.lax.fori_loop(0, _BITS, raise_threshold, threshold)
    above, equal = keys > threshold, keys == threshold
    order = jnp.cumsum(equal, axis=-1)
    return above | (equal & (order <= ties(above, equal)))

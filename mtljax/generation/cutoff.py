"""The largest values of an array, found without sorting it."""

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

    The cut is found bit by bit: 32 passes over the array, where sorting it takes far longer on a
    CPU.

    Args:
      keys: uint32 ``[..., V]``, from `order_keys`.
      enough: from a mask ``[..., V]`` of all keys from some value on to bool ``[..., 1]``, whether
        they suffice; true for a mask if it is for a part of it.
      ties: from the masks of the keys above the cut and of those at it to how many ``[..., 1]`` of
        the latter are kept, the first ones.

    Returns:
      bool ``[..., V]``; all true where all keys are not enough.
    """

    def longer(i: jax.Array, cut: jax.Array) -> jax.Array:
        further = cut | (jnp.uint32(1) << (_BITS - 1 - i).astype(jnp.uint32))
        return jnp.where(enough(keys >= further), further, cut)

    cut = jnp.zeros((*keys.shape[:-1], 1), jnp.uint32)
    cut = jax.lax.fori_loop(0, _BITS, longer, cut)
    above, at = keys > cut, keys == cut
    place = jnp.cumsum(at, axis=-1)
    return above | (at & (place <= ties(above, at)))

"""Random keys in the states of weightings, and random orders of the tasks."""

import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp

Draw = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


def keyed(seed: int | jax.Array) -> tuple[Callable[[], jax.Array], Draw]:
    """Makes what a method needs to carry a key in its state.

    A state holds the words of a key (uint32, ``[2]`` for JAX's default generator) rather than a
    typed key, so that any checkpoint can store it.

    Args:
      seed: an integer, or a JAX PRNG key, typed or as words.

    Returns:
      `start`, which makes the first words, and ``draw(words) -> (key, new words)``, which splits
      a typed key off.

    Raises:
      TypeError: neither integer nor key.
      ValueError: more than one key.

    >>> start, draw = keyed(3)
    >>> key, words = draw(start())
    """
    implementation = None
    if isinstance(seed, jax.Array) and jnp.issubdtype(seed.dtype, jax.dtypes.prng_key):
        if seed.ndim:
            raise ValueError(f"seed must be one key, got shape {seed.shape}")
        implementation = jax.random.key_impl(seed)
    elif not (isinstance(seed, jax.Array) and seed.dtype == jnp.uint32 and seed.ndim == 1):
        seed = operator.index(seed)  # pyright: ignore[reportArgumentType]

    def start() -> jax.Array:
        if isinstance(seed, int):
            return jax.random.key_data(jax.random.key(seed))
        # A copy, since a donated state must not take the caller's key with it.
        return jnp.array(seed if implementation is None else jax.random.key_data(seed))

    def draw(words: jax.Array) -> tuple[jax.Array, jax.Array]:
        kept, drawn = jax.random.split(jax.random.wrap_key_data(words, impl=implementation))
        return drawn, jax.random.key_data(kept)

    return start, draw


def random_orders(key: jax.Array, num_tasks: int) -> jax.Array:
    """Returns integers ``[T, T]``: T independent random orders of the tasks, one a row."""
    return jnp.argsort(jax.random.bits(key, (num_tasks, num_tasks), jnp.uint32), axis=1)

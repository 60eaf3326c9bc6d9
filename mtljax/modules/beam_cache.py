"""Keys and values of the K beams of a beam search, which continue from each other.

The beams of one prompt write next to each other in one array. When a beam continues from another,
nothing is copied: a mask lets it see the other's columns.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mtljax.modules.keys_values import KeysValues


class BeamKeysValues(NamedTuple):
    """Keys and values of the positions that K beams of each of P prompts have read.

    Column by column, and within a column beam by beam: what the beams read next is then one piece,
    which XLA writes in place.

    Attributes:
      keys: ``[P, heads, size, C K]``, rotated.
      values: ``[P, heads, size, C K]``.
    """

    keys: jax.Array
    values: jax.Array


def repeat_for_beams(cache: KeysValues, beams: int) -> BeamKeysValues:
    """Gives each of `beams` beams the C columns of its prompt."""
    return BeamKeysValues(*(jnp.repeat(x, beams, axis=-1) for x in cache))


def initial_owners(prompts: int, beams: int, columns: int) -> jax.Array:
    """The beam whose columns each beam sees at first, its own: int32 ``[P, K, C]``."""
    beam = jnp.arange(beams, dtype=jnp.int32)
    return jnp.broadcast_to(beam[:, None], (prompts, beams, columns))


def beam_mask(owners: jax.Array, mask: jax.Array) -> jax.Array:
    """Which columns of all beams each beam sees.

    Args:
      owners: int32 ``[P, K, C]``, the beam whose column it sees.
      mask: bool ``[P K, C]``, columns that are written.

    Returns:
      Bool ``[P, K, C K]``.
    """
    prompts, beams, columns = owners.shape
    written = mask.reshape(prompts, beams, columns, 1)
    seen = written & (owners[..., None] == jnp.arange(beams))
    return seen.reshape(prompts, beams, -1)


def write_beams(cache: BeamKeysValues, new: KeysValues, column: jax.Array | int) -> BeamKeysValues:
    """Writes a position of each beam, ``[P K, heads, size, 1]``, into its part of a column."""

    def write(old: jax.Array, x: jax.Array) -> jax.Array:
        prompts = old.shape[0]
        beams = x.shape[0] // prompts
        by_beam = jnp.moveaxis(x.reshape(prompts, beams, *x.shape[1:-1]), 1, 3)
        return jax.lax.dynamic_update_slice_in_dim(old, by_beam, column * beams, axis=3)

    return BeamKeysValues(write(cache.keys, new.keys), write(cache.values, new.values))


def attend_beams(
    query: jax.Array, cache: BeamKeysValues, mask: jax.Array, bias: jax.Array | None = None
) -> jax.Array:
    """Scaled dot-product attention of one position a beam to the columns of all beams.

    Args:
      query: ``[P K, 1, heads, size]``, rotated.
      cache: of C columns.
      mask: from `beam_mask`.
      bias: ``[1, heads, 1, C K]``, what is added to the scaled inner products; None for nothing.

    Returns:
      ``[P K, 1, heads, size]``; scores and softmax are float32 or wider.
    """
    prompts, beams, _ = mask.shape
    by_prompt = query.reshape(prompts, beams, *query.shape[2:])
    shared = query.shape[2] // cache.keys.shape[1]
    if shared > 1:
        # Queries that share keys are as many beams more that see the same columns.
        split = by_prompt.reshape(prompts, beams, -1, shared, query.shape[-1]).swapaxes(2, 3)
        folded = split.reshape(prompts * beams * shared, 1, -1, query.shape[-1])
        if bias is not None:
            bias = bias.reshape(1, -1, shared, bias.shape[-1])
            bias = jnp.tile(bias, (1, 1, beams, 1))
        attended = attend_beams(folded, cache, jnp.repeat(mask, shared, axis=1), bias)
        attended = attended.reshape(prompts, beams, shared, -1, query.shape[-1])
        return attended.swapaxes(2, 3).reshape(query.shape)
    wide = jnp.promote_types(query.dtype, jnp.float32)
    scores = jnp.einsum("pkhd,phdc->phkc", by_prompt, cache.keys, preferred_element_type=wide)
    scores = scores * query.shape[-1] ** -0.5
    scores = scores if bias is None else scores + bias
    scores = jnp.where(mask[:, None], scores, jnp.finfo(wide).min)
    shares = jax.nn.softmax(scores, axis=-1).astype(query.dtype)
    return jnp.einsum("phkc,phdc->pkhd", shares, cache.values).reshape(query.shape)

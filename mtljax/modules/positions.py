"""Rotary positions: queries and keys turned by an angle that grows with the position."""

import jax
import jax.numpy as jnp

from mtljax.modules.architecture import Architecture


def rotary_frequencies(size: int, base: float = 10_000.0) -> jax.Array:
    """Angles by which a position turns each pair of features, float32 ``[size / 2]``.

    Args:
      size: features of a head, even.
      base: the longest wavelength is about ``2 pi base`` positions.
    """
    half = size // 2
    return base ** (-jnp.arange(half, dtype=jnp.float32) / half)


def layer_frequencies(
    architecture: Architecture, size: int, local: jax.Array | bool = False
) -> jax.Array:
    """The frequencies of a layer, global or local."""
    a = architecture
    frequencies = rotary_frequencies(size, a.rotary_base)
    if a.rotary_factor != 1.0:
        frequencies = frequencies * _divided(a, frequencies)
    if a.rotary_local_base:
        frequencies = jnp.where(local, rotary_frequencies(size, a.rotary_local_base), frequencies)
    return frequencies


def _divided(architecture: Architecture, frequencies: jax.Array) -> jax.Array:
    """By what the frequencies are multiplied, for positions that are divided."""
    a, factor = architecture, 1 / architecture.rotary_factor
    if not a.rotary_original:
        return jnp.full_like(frequencies, factor)
    # Waves in as many positions: few of the long ones.
    waves = a.rotary_original * frequencies / (2 * jnp.pi)
    kept = jnp.clip((waves - a.rotary_low) / (a.rotary_high - a.rotary_low), 0, 1)
    return kept + (1 - kept) * factor


def rotate(x: jax.Array, positions: jax.Array, frequencies: jax.Array | None = None) -> jax.Array:
    """Rotary position embedding (Su et al. 2021).

    Args:
      x: queries or keys ``[R, S, heads, size]``, ``size`` even.
      positions: ``[R, S]`` integers, the position within the segment.
      frequencies: ``[size / 2]``; None for those of the base 10,000.

    Returns:
      The same shape; the inner product of two rotated vectors depends on the distance alone.
    """
    half = x.shape[-1] // 2
    frequencies = rotary_frequencies(x.shape[-1]) if frequencies is None else frequencies
    angles = positions[..., None].astype(jnp.float32) * frequencies
    cos, sin = (f(angles)[:, :, None, :].astype(x.dtype) for f in (jnp.cos, jnp.sin))
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

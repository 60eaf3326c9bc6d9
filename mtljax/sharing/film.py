"""Features scaled and shifted by a task's embedding."""

import jax
import jax.numpy as jnp


def film(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    """Feature-wise linear modulation (FiLM, Perez et al. 2018): ``x (1 + scale) + shift``.

    Args:
      x: ``[..., D]``, floating point.
      scale: ``[D]``.
      shift: ``[D]``.

    Returns:
      ``[..., D]``, in the dtype of `x`.
    """
    return x * (1 + scale.astype(x.dtype)) + shift.astype(x.dtype)


def film_parameters(embedding: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The scale and the shift of a task.

    Args:
      embedding: ``[k]``, of the task.
      kernel: ``[..., k, 2, D]``, of a layer, or of stacked ones.

    Returns:
      Both ``[..., D]``.
    """
    both = jnp.einsum("k,...kid->...id", embedding, kernel)
    return both[..., 0, :], both[..., 1, :]

"""Mixtures of experts, and the gates that mix them."""

import jax
import jax.numpy as jnp


def experts(
    x: jax.Array, down: jax.Array, down_bias: jax.Array, up: jax.Array, up_bias: jax.Array
) -> jax.Array:
    """What each of several experts adds to ``x``: ``relu(x D_e + c_e) U_e + b_e``.

    Args:
      x: ``[..., D]``, floating point.
      down: ``[E, D, m]``.
      down_bias: ``[E, m]``.
      up: ``[E, m, D]``.
      up_bias: ``[E, D]``.

    Returns:
      ``[..., E, D]``, in the dtype of `x`.
    """
    down, down_bias, up, up_bias = (leaf.astype(x.dtype) for leaf in (down, down_bias, up, up_bias))
    inside = jax.nn.relu(jnp.einsum("...d,edm->...em", x, down) + down_bias)
    return jnp.einsum("...em,emd->...ed", inside, up) + up_bias


def softmax_gate(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """The gate of a task at each position (MMoE, Ma et al. 2018): ``softmax(x K + b)``.

    Args:
      x: ``[..., D]``.
      kernel: ``[D, E]``.
      bias: ``[E]``.

    Returns:
      ``[..., E]``, shares that sum to 1, in the dtype of `x`.
    """
    return jax.nn.softmax(x @ kernel.astype(x.dtype) + bias.astype(x.dtype), axis=-1)


def mixture(outputs: jax.Array, shares: jax.Array) -> jax.Array:
    """The sum of experts by their shares.

    Args:
      outputs: ``[..., E, D]``.
      shares: ``[..., E]``, or ``[E]``, the same everywhere.

    Returns:
      ``[..., D]``.
    """
    return jnp.einsum("...ed,...e->...d", outputs, shares.astype(outputs.dtype))

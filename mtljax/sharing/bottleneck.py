"""Bottleneck adapters."""

import jax


def bottleneck(
    x: jax.Array, down: jax.Array, down_bias: jax.Array, up: jax.Array, up_bias: jax.Array
) -> jax.Array:
    """A bottleneck adapter (Houlsby et al. 2019): ``x + relu(x D + c) U + e``.

    With ``U`` and ``e`` 0 it is the identity.

    Args:
      x: ``[..., D]``, floating point.
      down: ``[D, m]``.
      down_bias: ``[m]``.
      up: ``[m, D]``.
      up_bias: ``[D]``.

    Returns:
      ``[..., D]``, in the dtype of `x`.
    """
    down, down_bias, up, up_bias = (leaf.astype(x.dtype) for leaf in (down, down_bias, up, up_bias))
    flat = x.reshape(-1, x.shape[-1])
    return x + (jax.nn.relu(flat @ down + down_bias) @ up + up_bias).reshape(x.shape)

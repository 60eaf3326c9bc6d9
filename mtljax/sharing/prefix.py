"""Keys and values of a task that every position of its texts sees."""

import jax
import jax.numpy as jnp


def prefix_attention(query: jax.Array, keys: jax.Array, values: jax.Array) -> jax.Array:
    """Attention to a prefix: ``softmax(q K^T / sqrt(d)) V``, which is added to that to the text.

    Prefix tuning (Li and Liang 2021) has the prefix and the text in one softmax, which is the sum
    of attention to either by their shares in it (He et al. 2022, equation 7). Here each has a
    softmax of its own, as in Zhang et al. 2023: with values of 0 a prefix changes nothing.

    Args:
      query: ``[..., H, d]``, floating point.
      keys: ``[P, H, d]``.
      values: ``[P, H, d]``.

    Returns:
      ``[..., H, d]``, in the dtype of `query`; the softmax is in float32 or wider.
    """
    scores = jnp.einsum("...hd,phd->...hp", query, keys.astype(query.dtype))
    scores = scores * query.shape[-1] ** -0.5
    wide = scores.astype(jnp.promote_types(query.dtype, jnp.float32))
    shares = jax.nn.softmax(wide, axis=-1).astype(query.dtype)
    return jnp.einsum("...hp,phd->...hd", shares, values.astype(query.dtype))

"""Experts in a layer, mixed at each position by a gate of the task."""

import jax
import jax.numpy as jnp

from mtljax.sharing.mixtures import softmax_gate


def gated_experts(
    x: jax.Array,
    down: jax.Array,
    down_bias: jax.Array,
    up: jax.Array,
    up_bias: jax.Array,
    gate: jax.Array,
    gate_bias: jax.Array,
) -> jax.Array:
    """``sum_e g_e(x) (relu(x D_e + c_e) U_e + b_e)`` with ``g = softmax(x K + k)``.

    A mixture of experts (Jacobs et al. 1991) whose gate is the task's, as the routers of tasks in
    Fan et al. 2022, equation 2, here over all experts. What `mtljax.sharing.mixture` makes of
    `mtljax.sharing.experts`, without their outputs apart: shares are taken inside of the experts.

    Args:
      x: ``[..., D]``, floating point.
      down: ``[E, D, m]``.
      down_bias: ``[E, m]``.
      up: ``[E, m, D]``.
      up_bias: ``[E, D]``.
      gate: ``[D, E]``, of the task.
      gate_bias: ``[E]``, of the task.

    Returns:
      ``[..., D]``, in the dtype of `x`.
    """
    count, width, inner = down.shape
    flat = x.reshape(-1, width)
    shares = softmax_gate(flat, gate, gate_bias)
    down, down_bias, up, up_bias = (leaf.astype(x.dtype) for leaf in (down, down_bias, up, up_bias))
    together = jnp.moveaxis(down, 0, 1).reshape(width, count * inner)
    inside = jax.nn.relu(flat @ together + down_bias.reshape(-1)).reshape(-1, count, inner)
    weighted = (inside * shares[..., None]).reshape(-1, count * inner)
    return (weighted @ up.reshape(count * inner, width) + shares @ up_bias).reshape(x.shape)

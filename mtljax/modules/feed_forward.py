"""The feed-forward block of a transformer layer, plain or gated."""

import functools
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mtljax.modules.architecture import Architecture
from mtljax.modules.by_position import by_position
from mtljax.modules.named_axes import named_dense


def gelu(x: jax.Array) -> jax.Array:
    """The tanh approximation of GELU (Hendrycks and Gimpel 2016), in float32 or wider inside.

    Written with a sigmoid, ``(1 + tanh(z)) / 2 = sigmoid(2 z)``: an exponential and a division,
    where XLA has a rational function of z for the tanh.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    bent = wide + 0.044715 * wide**3
    return (wide * jax.nn.sigmoid((8 / jnp.pi) ** 0.5 * bent)).astype(x.dtype)


# Their backward passes compute them again: what they would keep, in float32, takes a fifth to two
# fifths more memory, and a CPU a tenth more time.
ACTIVATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "gelu_tanh": jax.checkpoint(gelu),
    "gelu": jax.checkpoint(functools.partial(jax.nn.gelu, approximate=False)),
    "relu": jax.nn.relu,
    "silu": jax.checkpoint(jax.nn.silu),
}


def feed_forward(
    x: jax.Array, architecture: Architecture, width: int, dtype: DTypeLike
) -> jax.Array:
    """The feed-forward block of the layer that calls it, whose modules it makes.

    Args:
      x: ``[R, S, D]``.
      architecture: its activation, gate and biases.
      width: features inside.
      dtype: of the computation.

    Returns:
      ``[R, S, D]``.
    """
    a, features = architecture, x.shape[-1]
    activation = ACTIVATIONS[a.activation]
    if a.gated:
        names = named_dense(("features", "gates", "feed_forward"), ("gates", "feed_forward"))
        both = nn.DenseGeneral(
            (2, width), dtype=dtype, use_bias=a.feed_forward_bias, name="gate_up", **names
        )
        y = by_position(both, x)
        y = activation(y[:, :, 0]) * y[:, :, 1]
    else:
        names = named_dense(("features", "feed_forward"), ("feed_forward",))
        up = nn.Dense(width, dtype=dtype, use_bias=a.feed_forward_bias, name="up", **names)
        y = activation(by_position(up, x))
    names = named_dense(("feed_forward", "features"), ("features",))
    down = nn.Dense(features, dtype=dtype, use_bias=a.feed_forward_bias, name="down", **names)
    return by_position(down, y)

"""Dense layers over positions, as one product of matrices, with what a structure adds to them."""

import flax.linen as nn
import jax

from mtljax.modules.blockwise_attention import LONG, blockwise_attention
from mtljax.modules.packed_mask import PackedMask
from mtljax.sharing import (
    bottleneck,
    film,
    gated_experts,
    low_rank,
    prefix_attention,
    projected_attention,
    stitched,
)

ADAPTERS = "adapters"
"""The collection of variables with what a structure of sharing adds to the layers of an encoder."""


TOWERS = "towers"
"""The axis along which several towers of layers run side by side, one a task."""


def by_position(layer: nn.Dense | nn.DenseGeneral, x: jax.Array) -> jax.Array:
    """A dense layer on ``[R, S, ...]`` as one product of matrices.

    On a CPU this takes up to a fifth less time for the whole layer, as XLA copies the operands and
    gradients of products over two leading axes.

    Returns:
      ``[R, S, ...]``, what the layer makes of each position.
    """
    y = adapted(layer, x.reshape(-1, *x.shape[2:]))
    return y.reshape(*x.shape[:2], *y.shape[1:])


def adapted(layer: nn.Dense | nn.DenseGeneral, x: jax.Array) -> jax.Array:
    """A dense layer on ``[N, ...]`` with its low-rank update, if it has one."""
    y = layer(x)
    if not layer.has_variable(ADAPTERS, "a"):
        return y
    a, b = (layer.get_variable(ADAPTERS, name) for name in "ab")
    flat = x.reshape(x.shape[0], -1).astype(y.dtype)
    return y + low_rank(flat, a, b).reshape(y.shape)


def with_bottleneck(module: nn.Module, name: str, x: jax.Array) -> jax.Array:
    """``[R, S, D]`` through the bottleneck of that name in the scope of a module, if it has one."""
    if not module.has_variable(ADAPTERS, name):
        return x
    down, up = (module.get_variable(ADAPTERS, name)[part] for part in ("down", "up"))
    return bottleneck(x, down["kernel"], down["bias"], up["kernel"], up["bias"])


def with_film(module: nn.Module, name: str, x: jax.Array) -> jax.Array:
    """``[R, S, D]``, scaled and shifted by what has that name in the scope of a module, if any."""
    if not module.has_variable(ADAPTERS, name):
        return x
    found = module.get_variable(ADAPTERS, name)
    return film(x, found["scale"], found["shift"])


def with_prefix(module: nn.Module, name: str, query: jax.Array, y: jax.Array) -> jax.Array:
    """What attention makes, ``[R, S, H, d]``, plus that to the prefix of that name, if any."""
    if not module.has_variable(ADAPTERS, name):
        return y
    found = module.get_variable(ADAPTERS, name)
    return y + prefix_attention(query, found["keys"], found["values"]).astype(y.dtype)


def with_experts(module: nn.Module, name: str, x: jax.Array, y: jax.Array) -> jax.Array:
    """``y`` ``[..., D]`` plus what the experts of that name, if any, make of ``x`` ``[..., D]``."""
    if not module.has_variable(ADAPTERS, name):
        return y
    found = module.get_variable(ADAPTERS, name)
    parts = (found[part][leaf] for part in ("down", "up", "gate") for leaf in ("kernel", "bias"))
    return y + gated_experts(x, *parts)


def with_projected_attention(
    module: nn.Module, name: str, x: jax.Array, mask: jax.Array | PackedMask | None, y: jax.Array
) -> jax.Array:
    """``y`` ``[R, S, D]`` plus attention of that name, if there is any, of ``x`` ``[R, S, D]``."""
    if not module.has_variable(ADAPTERS, name):
        return y
    found = module.get_variable(ADAPTERS, name)
    parts = found["down"], found["qkv"], found["up"]
    long = x.shape[1] >= LONG and mask is None
    attend = blockwise_attention if long or isinstance(mask, PackedMask) else None
    return y + projected_attention(x, *parts, mask, attend)


def with_stitch(module: nn.Module, name: str, x: jax.Array) -> jax.Array:
    """``[R, S, D]`` mixed with the other towers by the shares of that name, if there are any."""
    if not module.has_variable(ADAPTERS, name):
        return x
    return stitched(x, module.get_variable(ADAPTERS, name), TOWERS)

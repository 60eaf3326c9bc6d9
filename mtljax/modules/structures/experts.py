"""Experts at the output of an encoder: shared ones beside its features, mixed in each head.

What the experts make of a position is packed behind its features: a head's gate reads the features,
and the mixture is added to them. So tasks of one input group are encoded once, and the experts are
shared parameters, while gates and experts of a task alone are its head's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.config import EncoderConfig, SharingConfig, output_width
from mtljax.modules.structures.structure import Keys
from mtljax.sharing import experts


def draw_experts(count: int, width: int, hidden: int, key: jax.Array) -> dict[str, Any]:
    """Experts that add nothing at first."""
    kernel = jax.random.normal(key, (count, width, hidden)) * width**-0.5
    return {
        "down": {"kernel": kernel, "bias": jnp.zeros((count, hidden))},
        "up": {"kernel": jnp.zeros((count, hidden, width)), "bias": jnp.zeros((count, width))},
    }


def apply_experts(parts: Mapping[str, Any], x: jax.Array) -> jax.Array:
    """What experts add to ``[..., D]``: ``[..., E, D]``."""
    down, up = parts["down"], parts["up"]
    return experts(x, down["kernel"], down["bias"], up["kernel"], up["bias"])


def draw_shared(sharing: SharingConfig, encoder: EncoderConfig, params: Any, keys: Keys) -> Any:
    """The experts that all tasks have; see `Structure.draw`."""
    del params
    made = draw_experts(sharing.experts, output_width(encoder), sharing.width, keys.shared)
    return {"experts": made}, {}


def packed_width(sharing: SharingConfig, tasks: Sequence[str], width: int) -> int:
    """See `Output.width`."""
    del tasks
    return width * (1 + sharing.experts)


def pack(sharing: SharingConfig, common: Any, hidden: jax.Array) -> jax.Array:
    """Features ``[R, S, D]`` with what the shared experts add, ``[R, S, (1 + E) D]``."""
    del sharing
    added = apply_experts(common["experts"], hidden)
    flat = added.reshape(*added.shape[:-2], -1)
    return jnp.concatenate([hidden, flat], axis=-1)


def unpack(packed: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Features ``[R, S, D]``, and ``[R, S, E, D]`` what `count` experts add, out of packed ones."""
    width = packed.shape[-1] // (1 + count)
    x, flat = jnp.split(packed, [width], axis=-1)
    return x, flat.reshape(*flat.shape[:-1], count, width)


def least_experts(sharing: SharingConfig, encoder: EncoderConfig, own: int) -> dict[str, int]:
    """See `Structure.least`, with `own` experts besides the shared ones."""
    out = output_width(encoder)
    numbers = (sharing.experts + own) * 2 * sharing.width * out
    count = "experts" if sharing.experts > own else "private_experts"
    return {"width" if sharing.width > out else count: numbers}

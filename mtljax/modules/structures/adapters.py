"""Bottlenecks after the blocks of a transformer, or after the layers of an LSTM."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.structures.parts import copies, drawn_in_parts, has_own_part, joined_variables
from mtljax.modules.structures.structure import Structure, put, refuse_linear
from mtljax.modules.transformer import LAYERS

_BLOCKS = ("attention", "feed_forward")


def _make(sharing: SharingConfig, encoder: EncoderConfig, params: Any, key: jax.Array) -> Any:
    """A bottleneck after each block of a transformer, or after each layer of an LSTM."""
    width, hidden, tree = encoder.features, sharing.width, {}
    if encoder.kind == "transformer":
        places = [("transformer", LAYERS, f"{block}_adapter") for block in _BLOCKS]
        layers: tuple[int, ...] = (encoder.layers,)
    else:
        places = [("lstm", f"layer_{i}_adapter") for i in range(encoder.layers)]
        layers = ()
    del params
    for i, path in enumerate(places):
        kernel = jax.random.normal(jax.random.fold_in(key, i), (*layers, width, hidden))
        down = {"kernel": kernel * width**-0.5, "bias": jnp.zeros((*layers, hidden))}
        up = {"kernel": jnp.zeros((*layers, hidden, width)), "bias": jnp.zeros((*layers, width))}
        put(tree, path, {"down": down, "up": up})
    return tree


def _joined(sharing: SharingConfig, parts: Sequence[Any]) -> Any:
    """Several bottlenecks side by side, as one of the sum of their widths."""
    del sharing
    if len(parts) == 1:
        return parts[0]
    join = jnp.concatenate
    return {
        "down": {
            "kernel": join([part["down"]["kernel"] for part in parts], axis=-1),
            "bias": join([part["down"]["bias"] for part in parts], axis=-1),
        },
        "up": {
            "kernel": join([part["up"]["kernel"] for part in parts], axis=-2),
            "bias": sum(part["up"]["bias"] for part in parts),
        },
    }


def _least(sharing: SharingConfig, encoder: EncoderConfig, tasks: int, numbers: int) -> Any:
    del numbers
    one = encoder.layers * 2 * sharing.width * encoder.features
    return {"width": copies(sharing, tasks) * one}


ADAPTERS_STRUCTURE = Structure(
    fields=("parts", "width"),
    freezes="begun",
    has_private=has_own_part,
    check=refuse_linear,
    draw=drawn_in_parts(_make),
    variables=joined_variables(_joined, "down", "up"),
    least=_least,
)

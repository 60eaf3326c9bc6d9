"""What structures of sharing put after layers: bottlenecks, and scales and shifts of a task."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.transformer import LAYERS
from mtljax.sharing import film_parameters

_BLOCKS = ("attention", "feed_forward")


def draw_adapters(
    sharing: SharingConfig, encoder: EncoderConfig, params: Any, key: jax.Array
) -> Any:
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


def joined_adapters(sharing: SharingConfig, parts: Sequence[Any]) -> Any:
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


def is_adapter(node: Any) -> bool:
    """Whether a node of a tree is a bottleneck."""
    return isinstance(node, Mapping) and node.keys() == {"down", "up"}


def draw_film(sharing: SharingConfig, encoder: EncoderConfig) -> Any:
    """From the embedding of a task to the scale and the shift of each layer, 0 at first."""
    width = encoder.embedding if encoder.kind == "linear" else encoder.features
    size, tree = (sharing.task_embedding, 2, width), {}
    if encoder.kind == "transformer":
        put(tree, ("transformer", LAYERS, "film"), {"kernel": jnp.zeros((encoder.layers, *size))})
    elif encoder.kind == "linear":
        put(tree, ("linear", "film"), {"kernel": jnp.zeros(size)})
    else:
        for i in range(encoder.layers):
            put(tree, ("lstm", f"layer_{i}_film"), {"kernel": jnp.zeros(size)})
    return tree


def film_of_task(common: Any, own: Any) -> Any:
    """The scale and the shift of each layer, of one task."""

    def of(node: Any) -> Any:
        scale, shift = film_parameters(own["embedding"], node["kernel"])
        return {"scale": scale, "shift": shift}

    return jax.tree.map(of, common, is_leaf=lambda node: "kernel" in node)


def put(tree: dict[str, Any], path: Sequence[str], leaf: Any) -> None:
    """Puts a leaf at a path of a tree of dictionaries, which is changed."""
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = leaf

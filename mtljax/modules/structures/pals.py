"""Attention of each task in a space of few features, beside every layer of a transformer."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.by_position import ADAPTERS
from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.structures.structure import Keys, Structure, Variables, put, refuse_others
from mtljax.modules.transformer import LAYERS


def _check(sharing: SharingConfig, encoder: EncoderConfig, shapes: Any) -> None:
    refuse_others(sharing, encoder, shapes)
    if sharing.width % encoder.heads:
        raise ValueError(
            f"width {sharing.width}: 'pals' has as many attention heads as the encoder, and "
            f"{encoder.heads} do not divide it"
        )


def _draw(sharing: SharingConfig, encoder: EncoderConfig, params: Any, keys: Keys) -> Any:
    """The projections of a task, one pair for all layers, and attention of each; 0 at first."""
    del params
    width, inner, heads = encoder.features, sharing.width, encoder.heads

    def of(key: jax.Array) -> Any:
        tree: dict[str, Any] = {}
        one, two = jax.random.split(key)
        down = jax.random.normal(one, (width, inner)) * width**-0.5
        shape = (encoder.layers, inner, 3, heads, inner // heads)
        qkv = jax.random.normal(two, shape) * inner**-0.5
        put(tree, ("transformer", "pal", "down", "kernel"), down)
        put(tree, ("transformer", "pal", "up", "kernel"), jnp.zeros((inner, width)))
        put(tree, ("transformer", LAYERS, "pal", "qkv", "kernel"), qkv)
        return tree

    return {}, {task: of(key) for task, key in keys.tasks.items()}


def _variables(sharing: SharingConfig, base: Any, common: Any, own: Any) -> Variables:
    del sharing, common
    body, added = own["transformer"], {}
    qkv = body[LAYERS]["pal"]["qkv"]["kernel"]
    down, up = (body["pal"][part]["kernel"] for part in ("down", "up"))
    # Every layer is told of the projections that all of them have.
    down, up = (jnp.broadcast_to(leaf, (len(qkv), *leaf.shape)) for leaf in (down, up))
    put(added, ("transformer", LAYERS, "pal"), {"down": down, "qkv": qkv, "up": up})
    return {"params": base, ADAPTERS: added}


def _least(sharing: SharingConfig, encoder: EncoderConfig, tasks: int, numbers: int) -> Any:
    del numbers
    one = 2 * encoder.features * sharing.width + 3 * encoder.layers * sharing.width**2
    return {"width": tasks * one}


PALS = Structure(
    fields=("width",),
    freezes="asked",
    decodes=False,
    has_private=lambda sharing: True,
    check=_check,
    draw=_draw,
    variables=_variables,
    least=_least,
)

"""Experts in every layer, beside its feed-forward block, that a gate of the task mixes."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.by_position import ADAPTERS
from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.structures.structure import Keys, Structure, Variables, put, refuse_linear
from mtljax.modules.transformer import LAYERS


def _draw(sharing: SharingConfig, encoder: EncoderConfig, params: Any, keys: Keys) -> Any:
    """Experts that add nothing at first, and gates with equal shares."""
    del params
    width, inner, count = encoder.features, sharing.width, sharing.experts
    if encoder.kind == "transformer":
        places: list[tuple[str, ...]] = [("transformer", LAYERS, "experts")]
        layers: tuple[int, ...] = (encoder.layers,)
    else:
        places = [("lstm", f"layer_{i}_experts") for i in range(encoder.layers)]
        layers = ()
    common: dict[str, Any] = {}
    for i, path in enumerate(places):
        shape = (*layers, count, width, inner)
        kernel = jax.random.normal(jax.random.fold_in(keys.shared, i), shape) * width**-0.5
        down = {"kernel": kernel, "bias": jnp.zeros((*layers, count, inner))}
        up = {
            "kernel": jnp.zeros((*layers, count, inner, width)),
            "bias": jnp.zeros((*layers, count, width)),
        }
        put(common, path, {"down": down, "up": up})

    def gates() -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for path in places:
            kernel, bias = (jnp.zeros((*layers, *shape)) for shape in ((width, count), (count,)))
            put(tree, path, {"gate": {"kernel": kernel, "bias": bias}})
        return tree

    return common, {task: gates() for task in keys.tasks}


def _variables(sharing: SharingConfig, base: Any, common: Any, own: Any) -> Variables:
    del sharing

    def joined(one: Any, other: Any) -> Any:
        if not isinstance(one, Mapping) or not one.keys() & other.keys():
            return {**one, **other}
        return {name: joined(one[name], other[name]) for name in one}

    return {"params": base, ADAPTERS: joined(common, own)}


def _least(sharing: SharingConfig, encoder: EncoderConfig, tasks: int, numbers: int) -> Any:
    del tasks, numbers
    count = encoder.layers * sharing.experts * 2 * sharing.width * encoder.features
    return {"width" if sharing.width > sharing.experts else "experts": count}


MOE = Structure(
    fields=("width", "experts"),
    freezes="asked",
    has_private=lambda sharing: True,
    check=refuse_linear,
    draw=_draw,
    variables=_variables,
    least=_least,
)

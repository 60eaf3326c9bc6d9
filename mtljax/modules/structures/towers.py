"""The layers of an encoder and what is above them, of which there may be several."""

from collections.abc import Mapping
from typing import Any

from mtljax.modules.config import EncoderConfig
from mtljax.modules.transformer import LAYERS

_PARTS = (LAYERS, "final_norm")
"""Parts of a transformer that are of a tower; what is before its first layer is not."""


def tower_apart(encoder: EncoderConfig, params: Mapping[str, Any]) -> tuple[Any, Any]:
    """The parameters of an encoder that is no linear one, taken apart.

    Args:
      encoder: its shape.
      params: its parameters.

    Returns:
      Those below the tower, and those of it.
    """
    kind = encoder.kind
    below, tower = {**params}, {}
    if kind == "transformer":
        tower[kind] = {name: params[kind][name] for name in _PARTS if name in params[kind]}
        below[kind] = {name: leaf for name, leaf in params[kind].items() if name not in _PARTS}
    else:
        tower[kind] = below.pop(kind)
    if "dense" in below:
        tower["dense"] = below.pop("dense")
    return below, tower


def with_tower(params: Mapping[str, Any], tower: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of an encoder with those of a tower, in place of its own if it has one."""
    return {**params, **{name: {**params.get(name, {}), **part} for name, part in tower.items()}}

"""A copy a task of the layers above those that all share."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.structures.structure import Structure, refuse_linear
from mtljax.modules.transformer import LAYERS


def _check(sharing: SharingConfig, encoder: EncoderConfig, shapes: Any) -> None:
    refuse_linear(sharing, encoder, shapes)
    if sharing.shared_layers >= encoder.layers:
        raise ValueError(
            f"shared_layers {sharing.shared_layers}: of {encoder.layers} layers, at least one has "
            "to be private"
        )


def _divide(
    sharing: SharingConfig, encoder: EncoderConfig, params: Any, tasks: Sequence[str]
) -> tuple[Any, dict[str, Any]]:
    """The layers from `sharing.shared_layers` on as those of each task, all alike at first."""
    first, kind = sharing.shared_layers, encoder.kind
    body = params[kind]
    if kind == "transformer":
        rest = {name: leaf for name, leaf in body.items() if name != LAYERS}
        below, above = (
            jax.tree.map(lambda leaf, part=part: leaf[part], body[LAYERS])
            for part in (slice(first), slice(first, None))
        )
        shared, own = {**rest, LAYERS: below}, {LAYERS: above}
    else:
        number = {name: int(name.split("_")[1]) for name in body}
        shared = {name: leaf for name, leaf in body.items() if number[name] < first}
        own = {name: leaf for name, leaf in body.items() if number[name] >= first}
    copies = {task: {kind: jax.tree.map(jnp.copy, own)} for task in tasks}
    return {**params, kind: shared}, copies


def _merged(sharing: SharingConfig, base: Any, common: Any, own: Any) -> Any:
    """The parameters of an encoder of which `_divide` took layers."""
    del sharing, common
    ((kind, layers),) = own.items()
    body = base[kind]
    if LAYERS in layers:
        stacked = jax.tree.map(lambda *parts: jnp.concatenate(parts), body[LAYERS], layers[LAYERS])
        return {**base, kind: {**body, LAYERS: stacked}}
    return {**base, kind: {**body, **layers}}


def _least(sharing: SharingConfig, encoder: EncoderConfig, tasks: int, numbers: int) -> Any:
    above = max(0, encoder.layers - sharing.shared_layers)
    return {"shared_layers": (tasks - 1) * above * numbers}


PRIVATE_LAYERS = Structure(
    fields=("shared_layers",),
    has_private=lambda sharing: True,
    check=_check,
    divide=_divide,
    whole=_merged,
    variables=lambda *args: {"params": _merged(*args)},
    merged=_merged,
    least=_least,
)

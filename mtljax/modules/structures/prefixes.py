"""Prefixes of each task, which the attention of every layer sees besides the text.

They are no columns of the rows: with a prefix in front of each text that is packed in a row, rows
would hold fewer texts, and masks, windows, distances and caches would have to know of it.
"""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.architecture import head_size
from mtljax.modules.by_position import ADAPTERS
from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.structures.structure import Keys, Structure, Variables, put, refuse_others
from mtljax.modules.transformer import LAYERS


def _draw(sharing: SharingConfig, encoder: EncoderConfig, params: Any, keys: Keys) -> Any:
    """Values of 0, which add nothing; keys are drawn, as equal ones would stay equal for ever."""
    del params
    size = head_size(encoder.architecture, encoder.features, encoder.heads)
    shape = (encoder.layers, sharing.prefix_length, encoder.heads, size)

    def of(key: jax.Array) -> Any:
        tree: dict[str, Any] = {}
        prefix = {"keys": jax.random.normal(key, shape), "values": jnp.zeros(shape)}
        put(tree, ("transformer", LAYERS, "prefix"), prefix)
        return tree

    return {}, {task: of(key) for task, key in keys.tasks.items()}


def _variables(sharing: SharingConfig, base: Any, common: Any, own: Any) -> Variables:
    del sharing, common
    return {"params": base, ADAPTERS: own}


def _least(sharing: SharingConfig, encoder: EncoderConfig, tasks: int, numbers: int) -> Any:
    del numbers
    one = 2 * encoder.layers * sharing.prefix_length * encoder.heads
    return {"prefix_length": tasks * one}


PREFIXES = Structure(
    fields=("prefix_length",),
    freezes="begun",
    has_private=lambda sharing: True,
    check=refuse_others,
    draw=_draw,
    variables=_variables,
    least=_least,
)

"""Low-rank updates of an encoder's matrices."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.by_position import ADAPTERS
from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.structures.matrices import (
    check_matrices,
    chosen_matrices,
    least_layers,
    least_width,
)
from mtljax.modules.structures.parts import copies, drawn_in_parts, has_own_part, joined_variables
from mtljax.modules.structures.structure import Structure, Variables, put
from mtljax.sharing import merged


def draw_lora(
    sharing: SharingConfig, encoder: EncoderConfig, params: Any, key: jax.Array, ups: int = 0
) -> dict[str, Any]:
    """A low-rank update of each matrix; with `ups` of them, several b of each."""
    del encoder
    tree: dict[str, Any] = {}
    for i, matrix in enumerate(chosen_matrices(sharing, params)):
        shape = (*matrix.layers, matrix.inputs, sharing.rank)
        a = jax.random.normal(jax.random.fold_in(key, i), shape) * matrix.inputs**-0.5
        b = jnp.zeros((*((ups,) if ups else ()), *matrix.layers, sharing.rank, matrix.outputs))
        if ups:
            # Layers first, as everything that is stacked has them.
            b = jnp.moveaxis(b, 0, len(matrix.layers))
        put(tree, matrix.path, {"a": a, "b": b})
    return tree


def is_low_rank(node: Any) -> bool:
    """Whether a node of a tree is a low-rank update."""
    return isinstance(node, Mapping) and node.keys() == {"a", "b"}


def merged_updates(variables: Variables) -> Any:
    """The parameters of an encoder with the low-rank updates of its matrices in them."""

    def of(params: Any, added: Any) -> Any:
        if is_low_rank(added):
            return {**params, "kernel": merged(params["kernel"], added["a"], added["b"])}
        return {
            name: of(leaf, added[name]) if name in added else leaf for name, leaf in params.items()
        }

    return of(variables["params"], variables[ADAPTERS])


def _joined(sharing: SharingConfig, parts: Sequence[Any]) -> Any:
    """Several low-rank updates as one of the sum of their ranks, with its scale in it."""
    a = jnp.concatenate([part["a"] for part in parts], axis=-1)
    b = jnp.concatenate([part["b"] for part in parts], axis=-2)
    return {"a": a, "b": b * (sharing.alpha / sharing.rank)}


def _least(sharing: SharingConfig, encoder: EncoderConfig, tasks: int, numbers: int) -> Any:
    del numbers
    one = least_layers(sharing, encoder) * 2 * sharing.rank * least_width(encoder)
    return {"rank": copies(sharing, tasks) * one}


_variables = joined_variables(_joined, "a", "b")

LORA = Structure(
    fields=("parts", "rank", "alpha", "matrices"),
    freezes="begun",
    has_private=has_own_part,
    check=check_matrices,
    draw=drawn_in_parts(draw_lora),
    variables=_variables,
    merged=lambda *args: merged_updates(_variables(*args)),
    least=_least,
)

"""Low-rank updates that tasks mix out of shared parts."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.by_position import ADAPTERS
from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.structures.lora import draw_lora, is_low_rank, merged_updates
from mtljax.modules.structures.matrices import (
    check_matrices,
    chosen_matrices,
    least_layers,
    least_width,
)
from mtljax.modules.structures.structure import Keys, Structure, Variables, put
from mtljax.sharing import of_task


def _draw(sharing: SharingConfig, encoder: EncoderConfig, params: Any, keys: Keys) -> Any:
    common = draw_lora(sharing, encoder, params, keys.shared, ups=sharing.ups)
    return common, {task: _cores(sharing, params, key) for task, key in keys.tasks.items()}


def _cores(sharing: SharingConfig, params: Any, key: jax.Array) -> Any:
    """Mixtures that are not even: up-projections in equal shares would stay equal for ever."""
    tree: dict[str, Any] = {}
    for i, matrix in enumerate(chosen_matrices(sharing, params)):
        core = jnp.broadcast_to(jnp.eye(sharing.rank), (*matrix.layers, *(sharing.rank,) * 2))
        mix = jax.random.normal(jax.random.fold_in(key, i), (*matrix.layers, sharing.ups))
        put(tree, matrix.path, {"core": core, "mix": mix})
    return tree


def _variables(sharing: SharingConfig, base: Any, common: Any, own: Any) -> Variables:
    def of(part: Any, task: Any) -> Any:
        b = jnp.moveaxis(part["b"], -3, 0)
        a, b = of_task(part["a"], b, task["core"], task["mix"])
        return {"a": a, "b": b * (sharing.alpha / sharing.rank)}

    added = jax.tree.map(of, common, own, is_leaf=lambda x: is_low_rank(x) or "core" in x)
    return {"params": base, ADAPTERS: added}


def _least(sharing: SharingConfig, encoder: EncoderConfig, tasks: int, numbers: int) -> Any:
    del numbers
    width, layers = least_width(encoder), least_layers(sharing, encoder)
    cores = tasks * (sharing.rank**2 + sharing.ups)
    ups = sharing.rank * sharing.ups * width
    return {"ups": layers * ups, "rank": layers * (sharing.rank * width + cores)}


MTL_LORA = Structure(
    fields=("rank", "alpha", "matrices", "ups"),
    freezes="begun",
    has_private=lambda sharing: True,
    check=check_matrices,
    draw=_draw,
    variables=_variables,
    merged=lambda *args: merged_updates(_variables(*args)),
    least=_least,
)

"""What layers make, scaled and shifted by an embedding of the task."""

from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.by_position import ADAPTERS
from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.structures.matrices import least_width
from mtljax.modules.structures.structure import Keys, Structure, Variables, put
from mtljax.modules.transformer import LAYERS
from mtljax.sharing import film_parameters


def _draw(sharing: SharingConfig, encoder: EncoderConfig, params: Any, keys: Keys) -> Any:
    """From the embedding of a task to the scale and the shift of each layer, 0 at first."""
    del params
    width = encoder.embedding if encoder.kind == "linear" else encoder.features
    size, tree = (sharing.task_embedding, 2, width), {}
    if encoder.kind == "transformer":
        put(tree, ("transformer", LAYERS, "film"), {"kernel": jnp.zeros((encoder.layers, *size))})
    elif encoder.kind == "linear":
        put(tree, ("linear", "film"), {"kernel": jnp.zeros(size)})
    else:
        for i in range(encoder.layers):
            put(tree, ("lstm", f"layer_{i}_film"), {"kernel": jnp.zeros(size)})
    shape = (sharing.task_embedding,)
    private = {
        task: {"embedding": jax.random.normal(key, shape)} for task, key in keys.tasks.items()
    }
    return tree, private


def _variables(sharing: SharingConfig, base: Any, common: Any, own: Any) -> Variables:
    del sharing

    def of(node: Any) -> Any:
        scale, shift = film_parameters(own["embedding"], node["kernel"])
        return {"scale": scale, "shift": shift}

    added = jax.tree.map(of, common, is_leaf=lambda node: "kernel" in node)
    return {"params": base, ADAPTERS: added}


def _least(sharing: SharingConfig, encoder: EncoderConfig, tasks: int, numbers: int) -> Any:
    del tasks, numbers
    return {"task_embedding": 2 * sharing.task_embedding * least_width(encoder)}


FILM = Structure(
    fields=("task_embedding",),
    freezes="begun",
    has_private=lambda sharing: True,
    draw=_draw,
    variables=_variables,
    least=_least,
)

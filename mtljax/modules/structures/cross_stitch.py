"""A tower of layers a task, mixed after each layer.

All towers run side by side on what any task reads, as one encoder under `jax.vmap`; a layer's
output meets those of the other towers where the layer is (`by_position.with_stitch`). So every
task's loss depends on all towers, which are shared parameters. The last mixture is of each task
alone, and is its head's.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.by_position import ADAPTERS, TOWERS
from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.heads import Features
from mtljax.modules.structures.structure import (
    SHARING,
    Output,
    Run,
    Structure,
    Variables,
    put,
    refuse_linear,
)
from mtljax.modules.structures.towers import tower_apart, with_tower
from mtljax.modules.transformer import LAYERS
from mtljax.sharing import cross_stitch, near_identity

_OUTPUT = Features(2, None, None, None)  # pyright: ignore[reportArgumentType]
"""Where the towers are among what an encoder returns: ``hidden`` alone differs."""


def _divide(
    sharing: SharingConfig, encoder: EncoderConfig, params: Any, tasks: Sequence[str]
) -> tuple[Any, dict[str, Any]]:
    """The layers, and what is above them, as those of each task, all alike at first."""
    below, tower = tower_apart(encoder, params)
    # By name, as jit has dictionaries: the order in which the shares are read.
    towers = {task: jax.tree.map(jnp.copy, tower) for task in sorted(tasks)}
    units = near_identity(len(tasks), sharing.own_share)
    stitches = jnp.tile(units, (encoder.layers - 1, 1, 1))
    added = {"towers": towers, **({"stitches": stitches} if encoder.layers > 1 else {})}
    return {**below, SHARING: added}, {}


def _whole(sharing: SharingConfig, base: Any, common: Any, own: Any) -> Any:
    """The parameters of an encoder as the first task has them."""
    del sharing, own
    return with_tower(base, common["towers"][min(common["towers"])])


def _variables(sharing: SharingConfig, base: Any, common: Any, own: Any) -> Variables:
    """Besides what is common, by collection the variables of all towers, ``[T, ...]``."""
    del sharing, own
    towers = [tower for _, tower in sorted(common["towers"].items())]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *towers)
    rows: dict[str, Any] = {}
    if "stitches" in common:
        stitches = common["stitches"]
        if "lstm" in stacked:
            for i in range(len(stitches)):
                put(rows, ("lstm", f"layer_{i}_stitch"), stitches[i])
        else:
            # The last layer is mixed in the heads.
            same = jnp.eye(len(towers), dtype=stitches.dtype)[None]
            every = jnp.moveaxis(jnp.concatenate([stitches, same]), 0, 1)
            put(rows, ("transformer", LAYERS, "stitch"), every)
    return {"params": base, TOWERS: {"params": stacked, ADAPTERS: rows}}


def _run(run: Run, variables: Variables) -> Features:
    base = variables["params"]
    # Before the towers: inside of a `jax.vmap` a look-up has no gradients by rows.
    embedded = run.embed({"params": base})

    def tower(own: Variables) -> Features:
        params = with_tower(base, own["params"])
        return run.encode({"params": params, ADAPTERS: own[ADAPTERS]}, embedded)

    features = jax.vmap(tower, out_axes=_OUTPUT, axis_name=TOWERS)(variables[TOWERS])
    hidden = features.hidden
    return features._replace(hidden=hidden.reshape(*hidden.shape[:2], -1))


def _draw_in_head(
    sharing: SharingConfig, tasks: Sequence[str], task: str, width: int, key: jax.Array
) -> dict[str, Any]:
    del width, key
    return {"stitch": near_identity(len(tasks), sharing.own_share)[tasks.index(task)]}


def _mix(
    sharing: SharingConfig, own: Any, packed: jax.Array, tasks: Sequence[str], task: str
) -> jax.Array:
    del sharing, task
    towers = packed.reshape(*packed.shape[:-1], len(tasks), -1)
    return cross_stitch(jnp.moveaxis(towers, -2, 0), own["stitch"][None])[0]


def _least(sharing: SharingConfig, encoder: EncoderConfig, tasks: int, numbers: int) -> Any:
    del sharing
    return {"structure": (tasks - 1) * encoder.layers * numbers}


CROSS_STITCH = Structure(
    decoders=False,
    decodes=False,
    of_all_tasks=lambda sharing: True,
    check=refuse_linear,
    divide=_divide,
    whole=_whole,
    variables=_variables,
    run=_run,
    output=Output(
        lambda sharing, tasks, width: len(tasks) * width,
        lambda sharing, common, hidden: hidden,
        _draw_in_head,
        _mix,
    ),
    least=_least,
)

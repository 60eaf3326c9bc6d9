"""Levels of experts at the output of an encoder (PLE), of which the first is CGC.

What every task's loss depends on is shared: the experts of all levels but the last, those of single
tasks among them, since the shared gates mix them, and the gates that lead there. A head has the
gates of its task in the last two levels, and its experts in the last.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.config import EncoderConfig, SharingConfig, output_width
from mtljax.modules.structures.experts import (
    apply_experts,
    draw_experts,
    draw_shared,
    least_experts,
)
from mtljax.modules.structures.gated_experts import draw_gate
from mtljax.modules.structures.structure import Keys, Output, Structure
from mtljax.sharing.ple import Level, extract, extraction


def _draw(sharing: SharingConfig, encoder: EncoderConfig, params: Any, keys: Keys) -> Any:
    common, _ = draw_shared(sharing, encoder, params, keys)
    width, hidden, own = output_width(encoder), sharing.width, sharing.private_experts
    for i in range(1, sharing.levels):
        key = jax.random.fold_in(keys.shared, i)
        tasks = {}
        for task, of_task in keys.tasks.items():
            made = draw_experts(own, width, hidden, jax.random.fold_in(of_task, i))
            tasks[task] = {"experts": made}
            if i < sharing.levels - 1:
                tasks[task]["gate"] = draw_gate(width, sharing.experts + own)
        common[f"level_{i}"] = {
            "experts": draw_experts(sharing.experts, width, hidden, key),
            "gate": draw_gate(width, sharing.experts + len(tasks) * own),
            "tasks": tasks,
        }
    return common, {}


def _width(sharing: SharingConfig, tasks: Sequence[str], width: int) -> int:
    return width * sum(_counts(sharing, len(tasks)))


def _counts(sharing: SharingConfig, tasks: int) -> tuple[int, ...]:
    """Of packed features, how many are states, and outputs of shared, own and last experts."""
    e, f = sharing.experts, sharing.private_experts
    if sharing.levels == 1:
        return 1, 0, 0, e
    return 1 if sharing.levels == 2 else tasks, e, tasks * f, e


def _experts(tree: Any) -> Any:
    down, up = tree["down"], tree["up"]
    return down["kernel"], down["bias"], up["kernel"], up["bias"]


def _gate(tree: Any) -> Any:
    return tree["kernel"], tree["bias"]


def _pack(sharing: SharingConfig, common: Any, hidden: jax.Array) -> jax.Array:
    levels = []
    for i in range(1, sharing.levels):
        level = common[f"level_{i}"]
        by_task = [tree for _, tree in sorted(level["tasks"].items())]
        own = jax.tree.map(lambda *leaves: jnp.stack(leaves), *by_task)
        gates = _gate(own["gate"]) if "gate" in own else None
        shared, gate = _experts(level["experts"]), _gate(level["gate"])
        levels.append(Level(shared, _experts(own["experts"]), gate, gates))
    if levels:
        found = extract(hidden, levels)
        own = found.own.reshape(*hidden.shape[:-1], -1, hidden.shape[-1])
        parts, x = [found.states, found.shared, own], found.x
    else:
        parts, x = [hidden[..., None, :]], hidden
    whole = jnp.concatenate([*parts, apply_experts(common["experts"], x)], axis=-2)
    return whole.reshape(*hidden.shape[:-1], -1)


def _draw_in_head(
    sharing: SharingConfig, tasks: Sequence[str], task: str, width: int, key: jax.Array
) -> dict[str, Any]:
    del tasks, task
    own = sharing.private_experts
    made = {
        "gate": draw_gate(width, sharing.experts + own),
        "experts": draw_experts(own, width, sharing.width, key),
    }
    return made | ({"below": draw_gate(width, sharing.experts + own)} if sharing.levels > 1 else {})


def _mix(
    sharing: SharingConfig, own: Any, packed: jax.Array, tasks: Sequence[str], task: str
) -> jax.Array:
    counts, at = _counts(sharing, len(tasks)), tasks.index(task)
    whole = packed.reshape(*packed.shape[:-1], sum(counts), -1)
    ends = [sum(counts[:i]) for i in range(1, len(counts))]
    states, shared, below, last = jnp.split(whole, ends, axis=-2)
    x = states[..., at if counts[0] > 1 else 0, :]
    if "below" in own:
        first = at * sharing.private_experts
        of_task = below[..., first : first + sharing.private_experts, :]
        x = extraction(x, jnp.concatenate([shared, of_task], axis=-2), _gate(own["below"]))
    added = jnp.concatenate([last, apply_experts(own["experts"], x)], axis=-2)
    return extraction(x, added, _gate(own["gate"]))


def _least(sharing: SharingConfig, encoder: EncoderConfig, tasks: int, numbers: int) -> Any:
    del numbers
    of_level = least_experts(sharing, encoder, sharing.private_experts * tasks)
    return {name: sharing.levels * count for name, count in of_level.items()}


PLE = Structure(
    fields=("width", "experts", "private_experts", "levels"),
    freezes="asked",
    decoders=False,
    of_all_tasks=lambda sharing: sharing.levels > 1,
    draw=_draw,
    output=Output(_width, _pack, _draw_in_head, _mix, reads_task=True),
    least=_least,
)

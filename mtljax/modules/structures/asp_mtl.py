"""A shared encoder, and a private tower a task, kept apart by an adversary (ASP-MTL).

An encoder is read twice, with the layers that all tasks have and with those of the task. What a
classifier makes of the shared features is packed with both: its loss is added to the task's.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.by_position import TOWERS
from mtljax.modules.config import EncoderConfig, SharingConfig, output_width
from mtljax.modules.heads import Features
from mtljax.modules.structures.structure import (
    SHARING,
    Output,
    Run,
    Structure,
    Variables,
    refuse_linear,
)
from mtljax.modules.structures.towers import tower_apart, with_tower
from mtljax.sharing import adversary_loss, overlap, reverse_gradient


def _divide(
    sharing: SharingConfig, encoder: EncoderConfig, params: Any, tasks: Sequence[str]
) -> tuple[Any, dict[str, Any]]:
    """A copy of the tower a task; the classifier says nothing at first."""
    del sharing
    _, tower = tower_apart(encoder, params)
    shape = output_width(encoder), len(tasks)
    classifier = {"kernel": jnp.zeros(shape), "bias": jnp.zeros(len(tasks))}
    private = {task: jax.tree.map(jnp.copy, tower) for task in tasks}
    return {**params, SHARING: {"classifier": classifier}}, private


def _run(run: Run, variables: Variables) -> Features:
    params = variables["params"]
    embedded = run.embed({"params": params})
    shared = run.encode({"params": params}, embedded)
    private = run.encode({"params": with_tower(params, variables[TOWERS])}, embedded)
    return shared._replace(hidden=jnp.concatenate([shared.hidden, private.hidden], axis=-1))


def _pack(sharing: SharingConfig, common: Any, hidden: jax.Array) -> jax.Array:
    del sharing
    kernel, bias = (common["classifier"][leaf].astype(hidden.dtype) for leaf in ("kernel", "bias"))
    shared = reverse_gradient(hidden[..., : len(kernel)])
    return jnp.concatenate([hidden, shared @ kernel + bias], axis=-1)


def _parts(packed: jax.Array, tasks: Sequence[str]) -> list[jax.Array]:
    """Shared features, private ones, and the logits of the classifier."""
    width = (packed.shape[-1] - len(tasks)) // 2
    return jnp.split(packed, [width, 2 * width], axis=-1)


def _draw_in_head(
    sharing: SharingConfig, tasks: Sequence[str], task: str, width: int, key: jax.Array
) -> dict[str, Any]:
    del sharing, tasks, task, key
    return {"join": {"kernel": jnp.zeros((width, width))}}


def _mix(
    sharing: SharingConfig, own: Any, packed: jax.Array, tasks: Sequence[str], task: str
) -> jax.Array:
    del sharing, task
    shared, private, _ = _parts(packed, tasks)
    return shared + private @ own["join"]["kernel"].astype(packed.dtype)


def _loss(sharing: SharingConfig, features: Features, tasks: Sequence[str], task: str) -> jax.Array:
    shared, private, logits = _parts(features.hidden, tasks)
    adversary = adversary_loss(logits, features.segments, tasks.index(task))
    repeated = overlap(shared, private, features.segments)
    return sharing.adversary * adversary + sharing.orthogonality * repeated


def _least(sharing: SharingConfig, encoder: EncoderConfig, tasks: int, numbers: int) -> Any:
    del sharing
    return {"structure": tasks * encoder.layers * numbers}


ASP_MTL = Structure(
    decoders=False,
    decodes=False,
    has_private=lambda sharing: True,
    of_all_tasks=lambda sharing: True,
    check=refuse_linear,
    divide=_divide,
    whole=lambda sharing, base, common, own: base,
    variables=lambda sharing, base, common, own: {"params": base, TOWERS: own},
    run=_run,
    output=Output(
        lambda sharing, tasks, width: 2 * width + len(tasks),
        _pack,
        _draw_in_head,
        _mix,
        reads_task=True,
        loss=_loss,
    ),
    least=_least,
)

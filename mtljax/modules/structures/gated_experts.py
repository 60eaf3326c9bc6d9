"""Experts that each task mixes by a gate: all tasks' (MMoE), and its own among them (CGC)."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.structures import experts
from mtljax.modules.structures.structure import Output, Structure
from mtljax.sharing import mixture, softmax_gate


def draw_gate(width: int, count: int) -> dict[str, Any]:
    """A gate with equal shares at first."""
    return {"kernel": jnp.zeros((width, count)), "bias": jnp.zeros(count)}


def gated(x: jax.Array, added: jax.Array, gate: Any) -> jax.Array:
    """Features ``[R, S, D]`` with what a gate mixes of ``[R, S, E, D]``."""
    return x + mixture(added, softmax_gate(x, gate["kernel"], gate["bias"]))


def _draw_mmoe(
    sharing: SharingConfig, tasks: Sequence[str], task: str, width: int, key: jax.Array
) -> dict[str, Any]:
    del tasks, task, key
    return {"gate": draw_gate(width, sharing.experts)}


def _draw_cgc(
    sharing: SharingConfig, tasks: Sequence[str], task: str, width: int, key: jax.Array
) -> dict[str, Any]:
    del tasks, task
    own = sharing.private_experts
    made = experts.draw_experts(own, width, sharing.width, key)
    return {"gate": draw_gate(width, sharing.experts + own), "experts": made}


def _mix(
    sharing: SharingConfig, own: Any, packed: jax.Array, tasks: Sequence[str], task: str
) -> jax.Array:
    del tasks, task
    x, added = experts.unpack(packed, sharing.experts)
    if "experts" in own:
        added = jnp.concatenate([added, experts.apply_experts(own["experts"], x)], axis=-2)
    return gated(x, added, own["gate"])


def _least_mmoe(sharing: SharingConfig, encoder: EncoderConfig, tasks: int, numbers: int) -> Any:
    del tasks, numbers
    return experts.least_experts(sharing, encoder, 0)


def _least_cgc(sharing: SharingConfig, encoder: EncoderConfig, tasks: int, numbers: int) -> Any:
    del numbers
    return experts.least_experts(sharing, encoder, sharing.private_experts * tasks)


MMOE = Structure(
    fields=("width", "experts"),
    freezes="asked",
    decoders=False,
    draw=experts.draw_shared,
    output=Output(experts.packed_width, experts.pack, _draw_mmoe, _mix),
    least=_least_mmoe,
)

CGC = Structure(
    fields=("width", "experts", "private_experts"),
    freezes="asked",
    decoders=False,
    draw=experts.draw_shared,
    output=Output(experts.packed_width, experts.pack, _draw_cgc, _mix),
    least=_least_cgc,
)

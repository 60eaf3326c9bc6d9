"""Experts of which each task chooses few (DSelect-k)."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.structures import experts
from mtljax.modules.structures.structure import SHARING, Output, Structure
from mtljax.sharing import mixture, select, selector_entropy


def _check(sharing: SharingConfig, encoder: EncoderConfig, shapes: Any) -> None:
    del encoder, shapes
    if sharing.chosen > sharing.experts:
        raise ValueError(f"chosen {sharing.chosen}: more than the {sharing.experts} experts")
    if sharing.experts & (sharing.experts - 1) or sharing.experts < 2:
        raise ValueError(f"experts {sharing.experts}: 'dselect_k' wants a power of 2, from 2")


def _draw(
    sharing: SharingConfig, tasks: Sequence[str], task: str, width: int, key: jax.Array
) -> dict[str, Any]:
    del tasks, task, width
    one, two = jax.random.split(key)
    bits = sharing.experts.bit_length() - 1
    # Within the width of the steps, where they have a slope.
    z = 0.1 * jax.random.normal(one, (sharing.chosen, bits))
    return {"selectors": {"z": z, "logits": jax.random.normal(two, (sharing.chosen,))}}


def _mix(
    sharing: SharingConfig, own: Any, packed: jax.Array, tasks: Sequence[str], task: str
) -> jax.Array:
    del tasks, task
    x, added = experts.unpack(packed, sharing.experts)
    shares = select(own["selectors"]["logits"], own["selectors"]["z"])
    return x + mixture(added, shares)


def _penalty(sharing: SharingConfig, params: Any) -> jax.Array:
    """What has the selectors of all tasks choose: the mean of their entropies, times `entropy`."""
    found = [head[SHARING]["selectors"]["z"] for head in params["heads"].values()]
    total = sum(selector_entropy(z) for z in found)
    return jnp.asarray(sharing.entropy / (len(found) * sharing.chosen) * total)


def _least(sharing: SharingConfig, encoder: EncoderConfig, tasks: int, numbers: int) -> Any:
    del tasks, numbers
    return experts.least_experts(sharing, encoder, 0)


DSELECT_K = Structure(
    fields=("width", "experts", "chosen"),
    freezes="asked",
    decoders=False,
    check=_check,
    draw=experts.draw_shared,
    output=Output(experts.packed_width, experts.pack, _draw, _mix),
    penalty=_penalty,
    has_penalty=lambda sharing: sharing.entropy > 0,
    least=_least,
)

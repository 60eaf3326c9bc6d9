"""Experts at the output of an encoder: shared ones beside its features, mixed in each head.

What the experts make of a position is packed behind its features: a head's gate reads the features,
and the mixture is added to them. So tasks of one input group are encoded once, and the experts are
shared parameters, while gates and experts of a task alone are its head's.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mtljax.modules.config import SharingConfig
from mtljax.modules.heads import Features
from mtljax.sharing import experts, mixture, select, selector_entropy, softmax_gate

EXPERTS = ("mmoe", "cgc", "dselect_k")
"""Structures whose experts are at the output of the encoder."""

SHARING = "sharing"
"""Among the parameters, those of a structure."""


def check_experts(sharing: SharingConfig, decoders: int) -> None:
    """Check that a structure of experts can be.

    Args:
      sharing: the structure.
      decoders: layers of the decoders.

    Raises:
      ValueError: naming the option.
    """
    if decoders:
        raise ValueError(f"structure {sharing.structure!r}: not with decoder.layers")
    if sharing.structure != "dselect_k":
        return
    if sharing.chosen > sharing.experts:
        raise ValueError(f"chosen {sharing.chosen}: more than the {sharing.experts} experts")
    if sharing.experts & (sharing.experts - 1) or sharing.experts < 2:
        raise ValueError(f"experts {sharing.experts}: 'dselect_k' wants a power of 2, from 2")


def draw_experts(count: int, width: int, hidden: int, key: jax.Array) -> dict[str, Any]:
    """Experts that add nothing at first."""
    kernel = jax.random.normal(key, (count, width, hidden)) * width**-0.5
    return {
        "down": {"kernel": kernel, "bias": jnp.zeros((count, hidden))},
        "up": {"kernel": jnp.zeros((count, hidden, width)), "bias": jnp.zeros((count, width))},
    }


def draw_gate(sharing: SharingConfig, width: int, key: jax.Array) -> dict[str, Any]:
    """What a head has of a structure of experts: its gate, and experts of its own."""
    if sharing.structure == "dselect_k":
        one, two = jax.random.split(key)
        bits = sharing.experts.bit_length() - 1
        # Within the width of the steps, where they have a slope.
        z = 0.1 * jax.random.normal(one, (sharing.chosen, bits))
        return {"selectors": {"z": z, "logits": jax.random.normal(two, (sharing.chosen,))}}
    own = sharing.private_experts if sharing.structure == "cgc" else 0
    count = sharing.experts + own
    gate = {"gate": {"kernel": jnp.zeros((width, count)), "bias": jnp.zeros(count)}}
    if own:
        gate["experts"] = draw_experts(own, width, sharing.width, key)
    return gate


def with_experts(sharing: SharingConfig, shared: Mapping[str, Any], features: Features) -> Features:
    """Features ``[R, S, D]`` with what the shared experts add, ``[R, S, (1 + E) D]``."""
    if sharing.structure not in EXPERTS:
        return features
    added = _apply(shared[SHARING]["experts"], features.hidden)
    flat = added.reshape(*added.shape[:-2], -1)
    return features._replace(hidden=jnp.concatenate([features.hidden, flat], axis=-1))


def packed_width(sharing: SharingConfig, width: int) -> int:
    """The width of features that `with_experts` has packed."""
    return width * (1 + sharing.experts) if sharing.structure in EXPERTS else width


def mixed(
    sharing: SharingConfig, features: Features, head: Mapping[str, Any]
) -> tuple[Features, Any]:
    """The features that a head reads, and the rest of its parameters.

    Args:
      sharing: the structure.
      features: from `with_experts`.
      head: the parameters of the head, with those of `draw_gate` under ``sharing``.

    Returns:
      Features ``[R, S, D]``, and the head without what mixed them.
    """
    if sharing.structure not in EXPERTS:
        return features, head
    own, head = head[SHARING], {name: leaf for name, leaf in head.items() if name != SHARING}
    width = features.hidden.shape[-1] // (1 + sharing.experts)
    x, flat = jnp.split(features.hidden, [width], axis=-1)
    added = flat.reshape(*flat.shape[:-1], sharing.experts, width)
    if "experts" in own:
        added = jnp.concatenate([added, _apply(own["experts"], x)], axis=-2)
    if sharing.structure == "dselect_k":
        shares = select(own["selectors"]["logits"], own["selectors"]["z"])
    else:
        shares = softmax_gate(x, own["gate"]["kernel"], own["gate"]["bias"])
    return features._replace(hidden=x + mixture(added, shares)), head


def selection_penalty(sharing: SharingConfig, params: Any) -> jax.Array:
    """The penalty that has the selectors of all tasks choose: their entropies, in the mean.

    Args:
      sharing: the structure, ``dselect_k``.
      params: of the model.

    Returns:
      A scalar, times ``sharing.entropy``.
    """
    found = [head[SHARING]["selectors"]["z"] for head in params["heads"].values()]
    total = sum(selector_entropy(z) for z in found)
    return jnp.asarray(sharing.entropy / (len(found) * sharing.chosen) * total)


def _apply(parts: Mapping[str, Any], x: jax.Array) -> jax.Array:
    down, up = parts["down"], parts["up"]
    return experts(x, down["kernel"], down["bias"], up["kernel"], up["bias"])

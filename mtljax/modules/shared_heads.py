"""Heads that several tasks have together: where their parameters are, and how they are read.

They are common to the tasks that have them, as the encoder is to all: they lie once, under
``params["shared"]["shared_heads"][name]``, and reach the heads with the features, as a tied word
table does. So they are shared parameters to whatever computes per-task gradients: a Gramian counts
them, and a weighting weighs them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

SHARED_HEADS = "shared_heads"
"""The entry of the shared parameters that holds these heads by name."""


def encoder_params(shared: Mapping[str, Any]) -> dict[str, Any]:
    """The shared parameters without the heads among them."""
    return {name: part for name, part in shared.items() if name != SHARED_HEADS}


def shared_heads(shared: Mapping[str, Any]) -> Mapping[str, Any]:
    """By name, the heads among the shared parameters; empty where there are none."""
    return shared.get(SHARED_HEADS, {})


def with_shared_heads(encoder: Mapping[str, Any], heads: Mapping[str, Any]) -> dict[str, Any]:
    """The shared parameters of an encoder and some heads."""
    return {**encoder, SHARED_HEADS: dict(heads)} if heads else dict(encoder)


def heads_named(shared: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any] | None:
    """The heads of these names; None for no name."""
    found = {name: shared_heads(shared)[name] for name in names}
    return found or None

"""What a run shares and trains, in one line."""

import math
from typing import Any

import jax

from mtljax.modules.structures import PRIVATE, SHARING
from mtljax.presets import Config
from mtljax.training.model import Model, initial_params
from mtljax.training.parameter_rates import freezes_encoder


def sharing_note(config: Config, model: Model) -> str:
    """The structure of a run and how many parameters it has; empty for a whole shared encoder."""
    sharing = config.sharing
    if sharing.structure == "hard":
        return ""
    params: Any = jax.eval_shape(lambda: initial_params(model))
    added = params["shared"].get(SHARING, {})
    rest = {name: leaf for name, leaf in params["shared"].items() if name != SHARING}
    counts = [f"{_count(rest):,} of the encoder{' (frozen)' if freezes_encoder(config) else ''}"]
    if added:
        counts.append(f"{_count(added):,} shared")
    if PRIVATE in params:
        counts.append(f"{_count(next(iter(params[PRIVATE].values()))):,} private to each task")
    return f"sharing {sharing.structure}: parameters {', '.join(counts)}"


def _count(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))

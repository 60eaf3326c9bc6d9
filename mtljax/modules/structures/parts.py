"""What is added to an encoder for all tasks, for each, or for both: `SharingConfig.parts`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from mtljax.modules.by_position import ADAPTERS
from mtljax.modules.config import EncoderConfig, SharingConfig
from mtljax.modules.structures.structure import Keys, Variables

Make = Callable[[SharingConfig, EncoderConfig, Any, jax.Array], dict[str, Any]]
"""From the structure, the encoder, its parameters and a key to what is added once."""

Join = Callable[[SharingConfig, Sequence[Any]], Any]
"""From the parts at one place to what the encoder reads there."""


def has_own_part(sharing: SharingConfig) -> bool:
    """Whether each task has a part of its own; see `Structure.has_private`."""
    return sharing.parts != "shared"


def drawn_in_parts(make: Make) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """A `Structure.draw` that makes a part for whomever there is one."""

    def draw(sharing: SharingConfig, encoder: EncoderConfig, params: Any, keys: Keys) -> Any:
        common, private = {}, {}
        if sharing.parts != "private":
            common = make(sharing, encoder, params, keys.shared)
        if sharing.parts != "shared":
            private = {
                task: make(sharing, encoder, params, key) for task, key in keys.tasks.items()
            }
        return common, private

    return draw


def joined_variables(join: Join, *names: str) -> Callable[..., Variables]:
    """A `Structure.variables` that joins the parts at each place, which have these names in it."""

    def is_part(node: Any) -> bool:
        return isinstance(node, Mapping) and node.keys() == set(names)

    def variables(sharing: SharingConfig, base: Any, common: Any, own: Any) -> Variables:
        parts = [part for part in (common, own) if part is not None]
        added = jax.tree.map(lambda *each: join(sharing, each), *parts, is_leaf=is_part)
        return {"params": base, ADAPTERS: added}

    return variables


def copies(sharing: SharingConfig, tasks: int) -> int:
    """How many parts there are at a place."""
    return (sharing.parts != "private") + tasks * (sharing.parts != "shared")

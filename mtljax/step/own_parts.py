"""The parts of a tree of parameters that each task has for itself."""

from collections.abc import Callable
from typing import Any

from mtljax.gradients import OwnParams


def own_packing(private: bool) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """From a tree of parameters to what each task has of its own, and back to parts of the tree."""
    if not private:
        return lambda tree: tree["heads"], lambda own: {"heads": own}

    def own_of(tree: Any) -> dict[str, OwnParams]:
        return {
            task: OwnParams(tree["private"][task], head) for task, head in tree["heads"].items()
        }

    def parts_of(own: Any) -> Any:
        return {
            "private": {task: each.private for task, each in own.items()},
            "heads": {task: each.head for task, each in own.items()},
        }

    return own_of, parts_of

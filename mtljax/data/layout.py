"""The layout of a run's data: the groups, outputs and static shapes that a model is built for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtljax.data.batching.batches import Shape
from mtljax.data.encoding.input_groups import Group
from mtljax.kinds import Output
from mtljax.special_tokens import OWN_MARKS, Marks, marks_from_json
from mtljax.tasks.task import Task


@dataclass(frozen=True)
class Layout:
    """What a model is built from, and what a prediction needs again.

    Attributes:
        groups: the input groups.
        outputs: what each task predicts, by name of task, in the order of the tasks.
        shapes: the static shape of each group's batches, by name of group.
        vocab_size: number of input ids.
        affix_buckets: number of hash values of affixes, or 0 where there are none.
        marks: the special ids among the input ids.
        characters: of each word that the encoder reads as such, or 0.
    """

    groups: tuple[Group, ...]
    outputs: Mapping[str, Output]
    shapes: Mapping[str, Shape]
    vocab_size: int
    affix_buckets: int
    marks: Marks = OWN_MARKS
    characters: int = 0

    def group(self, name: str) -> Group:
        """The group of that name.

        Raises:
            KeyError: if there is none.
        """
        for group in self.groups:
            if group.name == name:
                return group
        raise KeyError(name)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks, in the order in which `load_data` was called with them."""
        by_name = {task.name: task for group in self.groups for task in group.tasks}
        return tuple(by_name[name] for name in self.outputs)

    def group_of(self, task: str) -> Group:
        """The group that a task is in.

        Raises:
            KeyError: if there is no such task.
        """
        for group in self.groups:
            if any(member.name == task for member in group.tasks):
                return group
        raise KeyError(task)

    def to_json(self) -> dict[str, Any]:
        """The layout as plain JSON, with the names of the tasks in place of the tasks."""
        return {
            "groups": [
                {**vars(group), "tasks": [task.name for task in group.tasks]}
                for group in self.groups
            ],
            "outputs": {name: output.to_json() for name, output in self.outputs.items()},
            "shapes": {name: _shape_json(shape) for name, shape in self.shapes.items()},
            "vocab_size": self.vocab_size,
            "affix_buckets": self.affix_buckets,
            # What follows is left out where it is as in runs of before.
            **({"characters": self.characters} if self.characters else {}),
            **({} if self.marks == OWN_MARKS else {"marks": self.marks._asdict()}),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], tasks: Sequence[Task]) -> "Layout":
        """Reads what `to_json` wrote.

        Args:
            content: the JSON.
            tasks: the tasks of the layout, in any order.
        """
        by_name = {task.name: task for task in tasks}
        return cls(
            groups=tuple(
                Group(
                    **{
                        **group,
                        "tasks": tuple(by_name[name] for name in group["tasks"]),
                        "inputs": _inputs(group["inputs"]),
                    }
                )
                for group in content["groups"]
            ),
            outputs={name: Output.from_json(o) for name, o in content["outputs"].items()},
            shapes={name: Shape(**shape) for name, shape in content["shapes"].items()},
            vocab_size=content["vocab_size"],
            affix_buckets=content["affix_buckets"],
            marks=marks_from_json(content.get("marks", {})),
            characters=content.get("characters", 0),
        )


def _shape_json(shape: Shape) -> dict[str, Any]:
    # Left out where it is not so, as in runs of before.
    return {name: value for name, value in vars(shape).items() if name != "words" or value}


def _inputs(names: str | Sequence[str]) -> str | tuple[str, ...]:
    return names if isinstance(names, str) else tuple(names)

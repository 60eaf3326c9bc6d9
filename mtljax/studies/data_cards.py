"""What is in the data of a task: sizes, lengths, labels, and texts of one split in another."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mtljax.data import MultitaskData
from mtljax.kinds import KINDS
from mtljax.tasks import Task

_LARGEST = 200_000


class DataCard(NamedTuple):
    """The data of one task.

    Attributes:
      rows: by split.
      words: of a text of the training split: the median, and what 95 of 100 do not exceed.
      classes: how many occur in the training split; 0 for tasks without.
      balance: entropy of the classes over that of as many equal ones, in [0, 1]: 1 for even ones;
        0 for one class or none.
      repeated: by split, without the training split: texts that it has too.
      in_other_tasks: by task: texts of this task's test split that are in the other's training
        split.
      cut: by split, the share of texts that are longer than what is read of them.
    """

    rows: dict[str, int]
    words: tuple[int, int]
    classes: int
    balance: float
    repeated: dict[str, int]
    in_other_tasks: dict[str, int]
    cut: dict[str, float]


def data_cards(data: MultitaskData, tasks: Iterable[Task]) -> dict[str, DataCard]:
    """Describes the data of tasks; of very large splits the first 200,000 rows.

    Texts are equal if they are after blanks are made one and letters small: what differs so little
    is known to a model that has seen the other.

    Args:
      data: of the tasks.
      tasks: to describe.

    Returns:
      By task.
    """
    tasks = list(tasks)
    texts = {task.name: _texts(data, task) for task in tasks}
    trained = {name: set(splits.get("train", ())) for name, splits in texts.items()}
    cards = {}
    for task in tasks:
        splits = texts[task.name]
        lengths = sorted(len(text.split()) for text in splits.get("train", ())) or [0]
        counts = _class_counts(data, task)
        cards[task.name] = DataCard(
            rows={name: len(data.sources[task.source_name].splits[name]) for name in splits},
            words=(lengths[len(lengths) // 2], lengths[int(0.95 * (len(lengths) - 1))]),
            classes=int(np.count_nonzero(counts)),
            balance=_balance(counts),
            repeated={
                name: sum(text in trained[task.name] for text in of_split)
                for name, of_split in splits.items()
                if name != "train"
            },
            in_other_tasks={
                other.name: found
                for other in tasks
                if other.source_name != task.source_name
                and (found := sum(text in trained[other.name] for text in splits.get("test", ())))
            },
            cut={
                name: float(share["texts"])
                for name, share in data.cut_texts.get(task.name, {}).items()
            },
        )
    return cards


def _texts(data: MultitaskData, task: Task) -> dict[str, list[str]]:
    inputs = (task.inputs,) if isinstance(task.inputs, str) else task.inputs
    return {
        name: [_plain(row, inputs) for row in rows[:_LARGEST]]
        for name, rows in data.sources[task.source_name].splits.items()
    }


def _plain(row: Mapping[str, Any], inputs: Iterable[str]) -> str:
    parts = (row[name] for name in inputs)
    joined = " ".join(" ".join(part) if not isinstance(part, str) else part for part in parts)
    return " ".join(joined.casefold().split())


def _class_counts(data: MultitaskData, task: Task) -> np.ndarray:
    if not KINDS[task.kind].has_classes:
        return np.zeros(0)
    group = next(group for group in data.groups if task in group.tasks)
    examples = data.examples[group.name]["train"]
    targets, weights = examples.targets[task.name], examples.weights[task.name]
    if KINDS[task.kind].per_class:
        return np.asarray(targets[weights > 0]).sum(0)
    return np.bincount(np.asarray(targets[weights > 0]))


def _balance(counts: np.ndarray) -> float:
    counts = counts[counts > 0]
    if counts.size < 2:
        return 0.0
    shares = counts / counts.sum()
    return float(-np.sum(shares * np.log(shares)) / np.log(counts.size))

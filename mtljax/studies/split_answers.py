"""What a run answers to the texts of a split, beside what is right."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from mtljax.data import MultitaskData
from mtljax.inference import Run
from mtljax.kinds import KINDS
from mtljax.kinds.labels import indexed
from mtljax.tasks import Task


class Classified(NamedTuple):
    """Answers of one class a text.

    Attributes:
      classes: their names.
      texts: ``n`` of them, as the task reads them.
      targets: ``[n]``, the class that is right.
      probabilities: ``[n, classes]``.
    """

    classes: tuple[str, ...]
    texts: list[Any]
    targets: np.ndarray
    probabilities: np.ndarray

    @property
    def answers(self) -> np.ndarray:
        """``[n]``, the most probable class of each text."""
        return self.probabilities.argmax(1)


class Tagged(NamedTuple):
    """Tags of the words of texts.

    Attributes:
      classes: names of the tags.
      words: of each text.
      targets: the tags that are right, by number, -1 for none, of each text.
      answers: the tags that were answered.
    """

    classes: tuple[str, ...]
    words: list[list[str]]
    targets: list[np.ndarray]
    answers: list[np.ndarray]


def split_answers(
    run: Run, data: MultitaskData, split: str, most: int = 2000
) -> dict[str, Classified | Tagged]:
    """Answers the first texts of a split by every task with one class a text or a word.

    Args:
      run: that answers.
      data: of its tasks.
      split: of the data.
      most: texts of each task.

    Returns:
      By task; tasks of other kinds, and those without a target in the split, are left out.
    """
    found: dict[str, Classified | Tagged] = {}
    for task in run.tasks:
        if task.kind not in ("classification", "tagging"):
            continue
        rows = list(_rows(task, data, run.layout.outputs[task.name].classes, split, most))
        if not rows:
            continue
        answers = [one[task.name] for one in run.predict([text for text, _ in rows], [task.name])]
        classes = run.layout.outputs[task.name].classes
        if task.kind == "classification":
            probabilities = [[one["probabilities"][name] for name in classes] for one in answers]
            targets = np.array([numbers[0] for _, numbers in rows])
            texts = [text for text, _ in rows]
            found[task.name] = Classified(classes, texts, targets, np.array(probabilities))
            continue
        index = {name: number for number, name in enumerate(classes)}
        # Words that a data set's own form of texts splits otherwise cannot be compared.
        same = [(one, numbers) for one, (_, numbers) in zip(answers, rows, strict=True)
                if len(one["words"]) == len(numbers)]  # fmt: skip
        found[task.name] = Tagged(
            classes,
            [one["words"] for one, _ in same],
            [np.array(numbers) for _, numbers in same],
            [np.array([index[tag] for tag in one["tags"]], int) for one, _ in same],
        )
    return found


def _rows(
    task: Task, data: MultitaskData, classes: tuple[str, ...], split: str, most: int
) -> Iterator[tuple[Any, list[int]]]:
    """The texts of a task that have a target, with the numbers of their classes."""
    source = data.sources[task.source_name]
    assert task.targets is not None
    known = indexed(classes, numbered=bool(source.features[task.targets].classes))
    numbers_of = KINDS[task.kind].row_classes
    assert numbers_of is not None
    count = 0
    for row in source.splits.get(split, ()):
        text = _inputs(task, row)
        target = row[task.targets]
        if text is None or target is None:
            continue
        try:
            numbers = numbers_of(target, row[task.parts[0]], known)
        except ValueError:  # a row that was left out of training too
            continue
        if max(numbers, default=-1) < 0:
            continue
        yield text, numbers
        count += 1
        if count == most:
            return


def _inputs(task: Task, row: Mapping[str, Any]) -> Any:
    texts = {name: row[name] for name in task.parts}
    if any(text is None for text in texts.values()):
        return None
    return texts if len(texts) > 1 else next(iter(texts.values()))

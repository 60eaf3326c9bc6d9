"""What the preset `auto` knows of tasks: their kinds, and how many and how long their texts are."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from mtljax.data.catalogue.load_sources import load_sources
from mtljax.data.encoding.input_groups import input_groups
from mtljax.data.sources.bad_rows import BadRows
from mtljax.data.sources.samples import sampled
from mtljax.data.sources.source import Source, first_rows
from mtljax.data.tokenizers.word_splitting import split_words
from mtljax.kinds import KINDS
from mtljax.kinds.labels import MISSING
from mtljax.tasks import Task

_READ = 5000  # rows of a split of which lengths and classes are taken


class TaskFacts(NamedTuple):
    """What is known of a task before anything is encoded.

    Attributes:
      name: of the task.
      kind: its name in `mtljax.kinds.KINDS`.
      reads: tasks with the same name here read the same texts in one pass.
      texts: rows of the training split.
      words: of these texts, estimated from the first rows.
      longest: words of a text that 99 of 100 are not longer than.
      parts: texts that are read together.
      classes: that its data set declares, or its targets have in the first rows; 0 for numbers and
        words.
      scored: whether the first rows of validation have a target.
      chains: whether it has tags that can be chosen together, and does not say how.
    """

    name: str
    kind: str
    reads: str
    texts: int
    words: int
    longest: int
    parts: int = 1
    classes: int = 0
    scored: bool = True
    chains: bool = False


def task_facts(
    tasks: Sequence[Task],
    data_dir: str | PathLike[str] | None = None,
    *,
    bad_rows: BadRows = "stop",
    samples: int = 0,
    seed: int = 0,
) -> tuple[TaskFacts, ...]:
    """Read what is known of some tasks: a few thousand rows of each data set, and their number.

    Args:
      tasks: with unique names.
      data_dir: directory of data sets in TFDS format.
      bad_rows: what a malformed row of a file does.
      samples: see `mtljax.data.DataOptions.samples`.
      seed: of that draw.

    Raises:
      UserError: for a data set or feature that cannot be used.
    """
    sources = load_sources(tasks, data_dir, bad_rows)
    if samples:
        sources = {name: sampled(source, samples, seed) for name, source in sources.items()}
    read = {name: first_rows(source, _READ) for name, source in sources.items()}
    facts = {}
    for group in input_groups(tasks, read):
        source = read[group.tasks[0].source_name]
        rows = list(source.splits["train"])
        lengths = [sum(_words(row[part]) for part in group.parts) for row in rows] or [0]
        texts = len(sources[group.tasks[0].source_name].splits["train"])
        for task in group.tasks:
            classes = _classes(task, sources[task.source_name])
            facts[task.name] = TaskFacts(
                name=task.name,
                kind=task.kind,
                reads=group.name,
                texts=texts,
                words=round(float(np.mean(lengths)) * texts),
                longest=math.ceil(np.quantile(lengths, 0.99)),
                parts=len(group.parts),
                classes=len(classes),
                scored=_scored(task, read[task.source_name]),
                chains=_chains(task, classes),
            )
    return tuple(facts[task.name] for task in tasks)


def _words(text: str | Sequence[str] | None) -> int:
    if text is None:
        return 0
    return len(split_words(text)) if isinstance(text, str) else len(text)


def _classes(task: Task, source: Source) -> tuple[str, ...]:
    if not KINDS[task.kind].has_classes or task.targets is None:
        return ()
    if declared := source.features[task.targets].classes:
        return declared
    rows = source.splits["train"]
    # Of tags all count: one that no scheme allows would be refused, were they chosen together.
    targets = (row[task.targets] for row in itertools.islice(rows, _limit(task)))
    return tuple(sorted({str(label) for target in targets for label in _labels(target)}))


def _limit(task: Task) -> int | None:
    return None if KINDS[task.kind].has_spans else _READ


def _chains(task: Task, classes: Sequence[str]) -> bool:
    kind = KINDS[task.kind]
    said = task.loss is not None or task.constrained or task.label_smoothing or task.head
    if not kind.has_spans or said:
        return False
    return len(classes) > 1 and kind.check_steps(task.scheme, False, classes) is None


def _labels(target: Any) -> Iterable[Any]:
    values = target if isinstance(target, list | tuple | np.ndarray) else [target]
    return (value for value in values if not _is_missing(value))


def _scored(task: Task, source: Source) -> bool:
    rows: Iterable[Mapping[str, Any]] = source.splits.get("validation", ())
    wanted = task.parts[0] if task.targets is None else task.targets
    return any(
        any(True for _ in _labels(row[wanted])) and (task.weights is None or row[task.weights])
        for row in rows
    )


def _is_missing(value: Any) -> bool:
    if value is None or value == "":
        return True
    if isinstance(value, float) and math.isnan(value):
        return True
    return not isinstance(value, str) and value in MISSING

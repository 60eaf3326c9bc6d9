"""Runs side by side: their metrics with intervals, their differences, and their settings."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mtljax.errors import UserError
from mtljax.inference import Run, load_run
from mtljax.presets import flatten
from mtljax.studies.intervals import Difference, Interval, difference, interval
from mtljax.studies.text_states import TextStates, text_states
from mtljax.training.persistence.run_directory import source_digests


class TaskComparison(NamedTuple):
    """One task in several runs.

    Attributes:
      metric: its main metric.
      lower_is_better: whether a smaller value is better.
      values: of each run, None where a run has not this task.
      differences: of each run to the first that has it, None for that one, where it is absent, and
        for likelihoods of tokens of another tokenizer, which are of other things.
    """

    metric: str
    lower_is_better: bool
    values: tuple[Interval | None, ...]
    differences: tuple[Difference | None, ...]


class Comparison(NamedTuple):
    """Several runs on one split.

    Attributes:
      runs: their directories.
      steps: of the checkpoints that are compared.
      split: the part of the data.
      tasks: by name.
      settings: those that differ, by dotted name, of each run; and the tasks' own fields.
    """

    runs: tuple[str, ...]
    steps: tuple[int, ...]
    split: str
    tasks: dict[str, TaskComparison]
    settings: dict[str, tuple[Any, ...]]


def compare(
    runs: Sequence[str | Path],
    split: str = "test",
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    *,
    draws: int = 2000,
) -> Comparison:
    """Compares the best checkpoints of runs on the same texts.

    Args:
      runs: two run directories or more; differences are to the first.
      split: 'train', 'validation' or 'test'.
      data_dir: directory of the data sets in TFDS format.
      cache_dir: directory of the cache of tokenised data; None for no cache.
      draws: of the intervals and tests, see `mtljax.studies.difference`.

    Returns:
      `Comparison`.

    Raises:
      UserError: fewer than two runs, runs without a common task, or with other data or another
        main metric of one; data that is missing or has changed.
    """
    if len(runs) < 2:
        raise UserError("runs: name two or more to compare")
    splits = ("train", "validation", "test")
    if split not in splits:
        raise UserError(f"split {split!r}: unknown, there are {', '.join(splits)}")
    loaded = [load_run(run) for run in runs]
    _check_same_data(loaded)
    measured = [text_states(run, split, data_dir, cache_dir) for run in loaded]
    tasks = {}
    for name in dict.fromkeys(itertools.chain.from_iterable(measured)):
        of_runs = [of_run.get(name) for of_run in measured]
        if sum(one is not None for one in of_runs) > 1:
            tasks[name] = _of_task(name, of_runs, loaded, draws)
    if not tasks:
        raise UserError(f"runs: no task has a target in {split} in two of them")
    return Comparison(
        tuple(map(str, runs)),
        tuple(run.step for run in loaded),
        split,
        tasks,
        _different_settings(loaded),
    )


def _check_same_data(runs: Sequence[Run]) -> None:
    """Rows of a split are the same texts only where data sets, and how they are split, are."""
    seen: dict[str, tuple[str, Path]] = {}
    for run in runs:
        digests = source_digests(run.directory)
        for task in run.tasks:
            digest = digests.get(task.source_name)
            if digest is None:
                continue
            before, where = seen.setdefault(task.name, (digest, run.directory))
            if before != digest:
                raise UserError(
                    f"task {task.name!r}: {run.directory} and {where} have read other data, or "
                    "split it otherwise; their results cannot be compared"
                )


def _of_task(
    name: str, of_runs: Sequence[TextStates | None], runs: Sequence[Run], draws: int
) -> TaskComparison:
    numbers = [i for i, one in enumerate(of_runs) if one is not None]
    first, states = numbers[0], of_runs[numbers[0]]
    assert states is not None
    values: list[Interval | None] = [None] * len(of_runs)
    differences: list[Difference | None] = [None] * len(of_runs)
    for i in numbers:
        one = of_runs[i]
        assert one is not None
        if one.metric != states.metric:
            raise UserError(
                f"task {name!r}: its main metric is {states.metric} in {runs[first].directory} and "
                f"{one.metric} in {runs[i].directory}"
            )
        if not np.array_equal(one.rows, states.rows):
            raise UserError(
                f"task {name!r}: {runs[first].directory} and {runs[i].directory} are measured on "
                "other texts"
            )
        values[i] = scaled(interval([one.states], draws=draws), one.unit)
        other_tokens = one.metric in _OF_TOKENS and (
            runs[i].tokenizer.fingerprint != runs[first].tokenizer.fingerprint
        )
        if i != first and not other_tokens:
            found = difference([states.states], [one.states], draws=draws)
            differences[i] = scaled(found, one.unit)
    return TaskComparison(states.metric, states.lower_is_better, tuple(values), tuple(differences))


def scaled(found: Any, unit: float) -> Any:
    """An `Interval` or `Difference` in the units of the data."""
    return found._replace(value=found.value * unit, low=found.low * unit, high=found.high * unit)


_OF_TOKENS = ("perplexity",)
"""Metrics that depend on what a token is."""


def _different_settings(runs: Sequence[Run]) -> dict[str, tuple[Any, ...]]:
    flat = [flatten(run.config) for run in runs]
    for settings, run in zip(flat, runs, strict=True):
        settings["tasks"] = [task.name for task in run.tasks]
        for task in run.tasks:
            settings |= {f"tasks.{task.name}.{k}": v for k, v in task_settings(task).items()}
    names = dict.fromkeys(itertools.chain.from_iterable(flat))
    columns = {name: tuple(settings.get(name) for settings in flat) for name in names}
    # What only one run has, of a task that the others have not, is said by `tasks`.
    having = {name: [settings[name] for settings in flat if name in settings] for name in names}
    return {
        name: columns[name]
        for name, values in having.items()
        if any(value != values[0] for value in values)
    }


def task_settings(task: Any) -> dict[str, Any]:
    """The fields of a task that say how it is trained, without its name and data."""
    left_out = ("name", "sources", "dataset", "source_name")
    return {k: v for k, v in vars(task).items() if k not in left_out}

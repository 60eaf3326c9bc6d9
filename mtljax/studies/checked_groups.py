"""Groups of tasks by the gradients of joint runs, and the runs that check them."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtljax.data import MultitaskData
from mtljax.presets import Config
from mtljax.relatedness import affinity_of_metrics, best_grouping
from mtljax.studies.answers import CheckedGrouping, Groups
from mtljax.studies.intervals import Interval, mean_gain
from mtljax.studies.study import JOINT, StudyRun, paths_of, several_config
from mtljax.studies.text_states import TextStates
from mtljax.tasks import Task
from mtljax.training import read_metrics
from mtljax.training.starting_point import Given

Grouping = tuple[tuple[str, ...], ...]
"""Names of tasks, by group."""

RECOMMENDED, TOGETHER, ALONE, RANDOM = "recommended", "all together", "each alone", "random"


def gradient_groups(
    tasks: Sequence[Task], joint: Sequence[StudyRun], directory: Path, most: int
) -> Groups | None:
    """The best groups by the first-order affinities that joint runs recorded.

    Args:
      tasks: of the study.
      joint: its joint runs that did not diverge.
      directory: of the study.
      most: the most groups.

    Returns:
      None where no run recorded the inner products of all pairs.
    """
    names = [task.name for task in tasks]
    of_runs = []
    for run in joint:
        if run.config.gradients.telemetry:
            try:
                lines = affinity_of_metrics(read_metrics(directory / run.name), names)
            except ValueError:  # no line has all pairs, as where each step reads some groups alone
                continue
            # Relative to a task's own step, so that all columns have one scale.
            own = np.diagonal(lines, axis1=1, axis2=2)
            relative = lines / np.where(own > 0, own, np.inf)[:, None, :]
            relative[:, np.arange(len(names)), np.arange(len(names))] = 0
            of_runs.append(relative)
    if not of_runs:
        return None
    draws = np.stack([one.mean(0) for one in of_runs]) if len(of_runs) > 1 else of_runs[0]
    found = best_grouping(draws, most)
    return Groups(
        tuple(names),
        tuple(map(tuple, draws.mean(0).tolist())),
        tuple(found.labels.tolist()),
        tuple(found.gains.tolist()),
        None if found.errors is None else tuple(found.errors.tolist()),
    )


def groupings(groups: Groups, count: int) -> dict[str, list[Grouping]]:
    """What is to be compared: the recommended groups, one of all, one each, and random ones.

    Args:
      groups: the recommended ones.
      count: of random groupings, of groups as large as the recommended ones; fewer where there are
        not as many others.

    Returns:
      Groupings by what they are called.
    """
    best = _grouping(groups.names, groups.labels)
    generator = np.random.default_rng(0)
    others: dict[Grouping, None] = {}
    for _ in range(200 * count):
        drawn = _grouping(groups.names, generator.permutation(groups.labels).tolist())
        if drawn != best and len(others) < count:
            others[drawn] = None
    found = {
        RECOMMENDED: [best],
        TOGETHER: [(groups.names,)],
        ALONE: [tuple((name,) for name in groups.names)],
        RANDOM: list(others),
    }
    return {name: of_kind for name, of_kind in found.items() if of_kind}


def _grouping(names: Sequence[str], labels: Sequence[int]) -> Grouping:
    return tuple(
        tuple(name for name, one in zip(names, labels, strict=True) if one == label)
        for label in dict.fromkeys(labels)
    )


def grouping_runs(
    config: Config,
    tasks: Sequence[Task],
    data: MultitaskData,
    compared: Mapping[str, Sequence[Grouping]],
    *,
    seeds: int = 3,
) -> list[StudyRun]:
    """The runs of groups that the study does not have yet, each with its tasks' share of tokens.

    So all models of a grouping together cost what the joint one costs, where no tasks of two
    groups read the same texts.

    Args:
      config: of the joint run.
      tasks: of the joint run.
      data: of the joint run.
      compared: from `groupings`.
      seeds: how many.
    """
    by_name = {task.name: task for task in tasks}
    wanted = dict.fromkeys(
        group
        for of_kind in compared.values()
        for grouping in of_kind
        for group in grouping
        if 1 < len(group) < len(tasks)
    )
    given = None
    if not (config.encoder.pretrained or config.encoder.from_run):
        given = Given(data.tokenizer, data.outputs)
    paths = paths_of(config, data)
    runs = []
    for seed in range(config.seed, config.seed + seeds):
        seeded = dataclasses.replace(config, seed=seed)
        for group in wanted:
            some = tuple(by_name[name] for name in group)
            several = several_config(seeded, tasks, some, data, paths)
            name = run_name(group, len(tasks), seed)
            runs.append(StudyRun(name, several, some, seed, given, part="group"))
    return runs


def run_name(group: Sequence[str], count: int, seed: int) -> str:
    """The name of the run of a group, of so many tasks of the study."""
    if len(group) == count:
        return f"{JOINT}-seed{seed}"
    joined = "+".join(group)
    if len(group) == 1:
        return f"alone-{joined}-seed{seed}"
    if len(joined) > 100:
        joined = f"{joined[:80]}-{hashlib.sha256(joined.encode()).hexdigest()[:12]}"
    return f"group-{joined}-seed{seed}"


def checked(
    compared: Mapping[str, Sequence[Grouping]],
    measured: Mapping[str, Mapping[str, TextStates]],
    seeds: Sequence[int],
    *,
    draws: int = 2000,
) -> tuple[CheckedGrouping, ...]:
    """How good groupings really are, by their runs.

    Args:
      compared: from `groupings`.
      measured: of each run that did not diverge its tasks' results on the test split.
      seeds: of the study.
      draws: of intervals, see `mtljax.studies.mean_gain`.

    Returns:
      One for each kind of grouping; those whose runs diverged in all seeds have no gain.
    """
    count = sum(map(len, compared[TOGETHER][0]))
    own = _results(compared[ALONE], measured, seeds, count)
    best = _results(compared[RECOMMENDED], measured, seeds, count)
    found = []
    for name, of_kind in compared.items():
        ours = _results(of_kind, measured, seeds, count)
        gain = None if name == ALONE else _gain(own, ours, draws)
        lead = None if name == RECOMMENDED else _gain(ours, best, draws)
        found.append(CheckedGrouping(name, tuple(of_kind), gain, lead))
    return tuple(found)


def _results(
    of_kind: Sequence[Grouping],
    measured: Mapping[str, Mapping[str, TextStates]],
    seeds: Sequence[int],
    count: int,
) -> dict[tuple[int, int], dict[str, TextStates]]:
    """By number of grouping and seed, where none of its runs diverged, the results of all tasks."""
    found = {}
    for number, grouping in enumerate(of_kind):
        for seed in seeds:
            runs = {run_name(group, count, seed): group for group in grouping}
            if all(run in measured for run in runs):
                found[number, seed] = {
                    name: measured[run][name]
                    for run, group in runs.items()
                    for name in group
                    if name in measured[run]
                }
    return found


def _gain(
    first: Mapping[tuple[int, int], Mapping[str, TextStates]],
    second: Mapping[tuple[int, int], Mapping[str, TextStates]],
    draws: int,
) -> Interval | None:
    """The mean relative gain of the second over the first, paired by seeds."""
    pairs = [
        (one, other)
        for (_, seed), one in first.items()
        for (_, other_seed), other in second.items()
        if seed == other_seed
    ]
    if not pairs:
        return None
    names = [name for name in pairs[0][0] if all(name in one and name in b for one, b in pairs)]
    of_tasks: list[Any] = [
        ([one[name].states for one, _ in pairs], [other[name].states for _, other in pairs])
        for name in names
    ]
    lower = [pairs[0][0][name].lower_is_better for name in names]
    return mean_gain(of_tasks, lower, draws=draws)

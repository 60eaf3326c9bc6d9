"""What the encoder of one task is worth to another: its head alone is trained on it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mtljax.data import MultitaskData
from mtljax.errors import UserError
from mtljax.kinds import KINDS
from mtljax.presets import Config
from mtljax.studies.answers import Transfer
from mtljax.studies.comparison import scaled
from mtljax.studies.intervals import difference, interval
from mtljax.studies.new_tasks import in_way
from mtljax.studies.other_tasks import without_patterns_of
from mtljax.studies.study import StudyRun, alone_config, alone_task, paths_of
from mtljax.studies.text_states import TextStates
from mtljax.tasks import Task
from mtljax.training.reporting.data_overview import total_steps
from mtljax.training.starting_point import Given


class Moved(NamedTuple):
    """What a run tells of a transfer: from the encoder of a task to another task, for a seed."""

    source: str
    target: str
    seed: int


def transfer_runs(
    config: Config, tasks: Sequence[Task], data: MultitaskData, *, seeds: int = 3
) -> tuple[dict[Moved, StudyRun], tuple[str, ...]]:
    """A run for every ordered pair of tasks: the encoder of one, as it is, and a head of the other.

    They begin from the models of one task that the study has, and have as many steps.

    Args:
      config: of the joint run.
      tasks: of the joint run.
      data: of the joint run.
      seeds: how many.

    Returns:
      The runs by what they tell, and sentences about pairs that are left out.
    """
    steps, paths = total_steps(config, data), paths_of(config, data)
    given = Given(data.tokenizer, data.outputs)
    found: dict[Moved, StudyRun] = {}
    left_out = []
    for seed in range(config.seed, config.seed + seeds):
        seeded = dataclasses.replace(config, seed=seed)
        for target in tasks:
            alone = alone_config(seeded, target, data, steps, "share")
            others = [task.name for task in tasks if task is not target]
            frozen = in_way(without_patterns_of(alone, paths, others), "frozen")
            for source in tasks:
                if source is target:
                    continue
                if not _readable(config, source, target):
                    left_out.append(target.name)
                    continue
                found[Moved(source.name, target.name, seed)] = StudyRun(
                    f"transfer-{source.name}-{target.name}-seed{seed}",
                    frozen,
                    (alone_task(target),),
                    seed,
                    given,
                    target.name,
                    "transfer",
                    f"alone-{source.name}-seed{seed}",
                )
    notes = [
        f"{name} writes text, and encoders of tasks that do not read in both directions: no "
        "transfer to it from these."
        for name in dict.fromkeys(left_out)
    ]
    return found, tuple(notes)


def _readable(config: Config, source: Task, target: Task) -> bool:
    """Whether a task can read by the encoder of another: none that writes, in both directions."""
    both_ways = config.encoder.kind == "lstm" and config.encoder.bidirectional != "no"
    return not (both_ways and KINDS[target.kind].writes and not KINDS[source.kind].writes)


def transfer_answer(
    moved: Mapping[Moved, TextStates],
    alone: Mapping[tuple[str, int], TextStates],
    names: Sequence[str],
    seconds: float,
    *,
    draws: int = 2000,
) -> Transfer:
    """The matrix of transfers, from the runs that did not diverge.

    Args:
      moved: the target's results on the test split, of each such run.
      alone: of models of one task, by task and seed.
      names: of all tasks.
      seconds: that the steps of the runs took.
      draws: of intervals and tests, see `mtljax.studies.difference`.

    Returns:
      `Transfer`.

    Raises:
      UserError: a task's test texts differ between runs.
    """
    values, changes = [], []
    for source in names:
        of_source, changes_of_source = [], []
        for target in names:
            own = {seed: one for (name, seed), one in alone.items() if name == target}
            ours = own
            if source != target:
                ours = {k.seed: one for k, one in moved.items() if k[:2] == (source, target)}
            both = [seed for seed in ours if seed in own]
            value = change = None
            if both:
                for seed in both:
                    if not np.array_equal(ours[seed].rows, own[seed].rows):
                        raise UserError(
                            f"task {target!r}: its test texts differ between the runs of the study"
                        )
                unit = ours[both[0]].unit
                states, base = ([one[seed].states for seed in both] for one in (ours, own))
                value = scaled(interval(states, draws=draws), unit)
                if source != target:
                    change = scaled(difference(base, states, draws=draws), unit)
            of_source.append(value)
            changes_of_source.append(change)
        values.append(tuple(of_source))
        changes.append(tuple(changes_of_source))
    own = {name: one for (name, _), one in alone.items()}
    return Transfer(
        tuple(names),
        tuple(own[name].metric if name in own else "" for name in names),
        tuple(own[name].lower_is_better if name in own else False for name in names),
        tuple(values),
        tuple(changes),
        len(moved),
        seconds,
    )

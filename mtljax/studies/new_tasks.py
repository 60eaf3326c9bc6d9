"""A task that is new to a model of the others: what it learns from few samples, four ways."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from mtljax.data import MultitaskData
from mtljax.errors import UserError
from mtljax.kinds import KINDS
from mtljax.presets import Config
from mtljax.studies.answers import NewTask
from mtljax.studies.comparison import scaled
from mtljax.studies.intervals import difference, interval
from mtljax.studies.other_tasks import without_patterns_of
from mtljax.studies.study import StudyRun, alone_config, alone_task, paths_of, several_config
from mtljax.studies.text_states import TextStates
from mtljax.tasks import Task, suggestion
from mtljax.training.reporting.data_overview import total_steps
from mtljax.training.starting_point import Given

Way = Literal["frozen", "tuned", "adapter", "alone"]
"""How a new task is learned: its head on the encoder of the others as it is; with all parameters
tuned; with low-rank updates of the encoder; or from nothing, as if there were no others."""

WAYS: tuple[Way, ...] = ("frozen", "tuned", "adapter", "alone")

ALL = "all"
SAMPLES: tuple[int | str, ...] = (16, 64, 256, ALL)
"""How many training texts a new task is learned from, if nothing else is said."""

_PASSES = 100
"""Over few samples: more change little but the memory of them."""
_EVALUATIONS = 10


class Learned(NamedTuple):
    """What a run of a study is to tell of a new task.

    Attributes:
      task: its name.
      way: how it is learned.
      samples: its training texts.
      seed: of the run.
    """

    task: str
    way: Way
    samples: int
    seed: int


def new_task_runs(
    config: Config,
    tasks: Sequence[Task],
    data: MultitaskData,
    names: Sequence[str],
    samples: Sequence[int | str] = SAMPLES,
    *,
    seeds: int = 3,
) -> tuple[dict[Learned, StudyRun], list[StudyRun], tuple[str, ...]]:
    """The runs that say what a new task learns from a model of the others.

    For each task that is left out, one model of the rest, at the budget of the joint run less the
    task's share; from that and from nothing, the task from few samples and from all. Validation
    has no more texts than training.

    Args:
      config: of the joint run.
      tasks: of the joint run.
      data: of the joint run.
      names: tasks that are left out; `ALL` for each.
      samples: training texts to learn from; `ALL` for all there are.
      seeds: how many, which draw the samples too.

    Returns:
      The runs of new tasks, by what they tell; all runs in the order in which they are to be done,
      those of the rest among them; and sentences about what is not done as asked for.

    Raises:
      UserError: an unknown task, one whose texts it is to write itself, or no number of samples.
    """
    left_out = _named(tasks, names)
    counts = _checked(samples)
    paths = paths_of(config, data)
    steps = total_steps(config, data)
    given = Given(data.tokenizer, data.outputs)
    found: dict[Learned, StudyRun] = {}
    runs, notes = [], []
    ways: list[Way] = [w for w in WAYS if w != "adapter" or config.encoder.kind != "linear"]
    if len(ways) < len(WAYS):
        notes.append("A linear encoder has no matrices for an adapter.")
    sizes = {}
    for task in left_out:
        rows = len(data.sources[task.source_name].splits["train"])
        sizes[task.name] = sorted({rows if n == ALL else min(int(n), rows) for n in counts})
        more = [n for n in counts if n != ALL and int(n) > rows]
        if more:
            asked = " and ".join(map(str, more))
            notes.append(f"{task.name} has {rows} training texts, not {asked}: all are used.")
    for seed in range(config.seed, config.seed + seeds):
        seeded = dataclasses.replace(config, seed=seed)
        for task in left_out:
            others = [one for one in tasks if one is not task]
            of_rest = several_config(seeded, tasks, others, data, paths)
            rest = StudyRun(
                f"rest-{task.name}-seed{seed}", of_rest, tuple(others), seed, part="rest"
            )
            runs.append(rest)
            whole = alone_config(seeded, task, data, steps, "share")
            whole = without_patterns_of(whole, paths, [one.name for one in others])
            for count in sizes[task.name]:
                little = _little(whole, task, data, count)
                for way in ways:
                    run = StudyRun(
                        f"new-{task.name}-{way}-{count}-seed{seed}",
                        in_way(little, way),
                        (alone_task(task),),
                        seed,
                        given,
                        task.name,
                        "new",
                        rest.name,
                        way == "alone",
                    )
                    found[Learned(task.name, way, count, seed)] = run
                    runs.append(run)
    return found, runs, tuple(notes)


def _named(tasks: Sequence[Task], names: Sequence[str]) -> list[Task]:
    by_name = {task.name: task for task in tasks}
    if list(names) == [ALL] and ALL not in by_name:
        return [task for task in tasks if not KINDS[task.kind].writes]
    for name in names:
        if name not in by_name:
            raise UserError(f"leave-out: no task {name!r}{suggestion(name, by_name)}")
        if KINDS[by_name[name].kind].writes:
            raise UserError(
                f"leave-out: task {name!r} writes words of its own training texts: from few of "
                "them it would be measured on other words"
            )
    return [by_name[name] for name in dict.fromkeys(names)]


def _checked(samples: Sequence[int | str]) -> list[int | str]:
    counts: list[int | str] = []
    for asked in samples:
        known = str(asked) == ALL or (str(asked).isdecimal() and int(asked) > 0)
        if not known:
            raise UserError(f"samples: must be 1 or more, or 'all', got {asked!r}")
        counts.append(ALL if str(asked) == ALL else int(asked))
    if not counts:
        raise UserError("samples: name a number of them, or 'all'")
    return counts


def _little(config: Config, task: Task, data: MultitaskData, count: int) -> Config:
    """The configuration of a task alone, for few samples: less tokens a step, and less steps."""
    group = data.layout.group_of(task.name)
    whole = len(data.sources[task.source_name].splits["train"])
    if count >= whole:
        return config
    length = data.layout.shapes[group.name].row_length
    filled = math.ceil(data.plans[group.name].num_rows * count / whole)
    rows = min(config.batch.tokens // length, max(1, filled))
    steps = min(config.steps, _PASSES * math.ceil(filled / rows))
    every = max(1, steps // _EVALUATIONS)
    optimizer = config.optimizer
    warmup = min(optimizer.warmup_steps, steps // _EVALUATIONS)
    return dataclasses.replace(
        config,
        steps=steps,
        evaluate_every=every,
        log_every=min(config.log_every, every),
        data=dataclasses.replace(config.data, samples=count),
        batch=dataclasses.replace(config.batch, tokens=rows * length),
        optimizer=dataclasses.replace(optimizer, warmup_steps=warmup),
    )


def in_way(config: Config, way: Way) -> Config:
    """The configuration of a task alone as one that is learned from another model's encoder."""
    if way == "alone":
        return config
    optimizer = dataclasses.replace(config.optimizer, frozen=(), unfreeze=0)
    sharing = config.sharing
    if way == "frozen":
        optimizer = dataclasses.replace(optimizer, frozen=("^shared/",))
    elif way == "tuned":
        sharing = dataclasses.replace(sharing, freeze="no")
    elif sharing.structure == "hard":
        sharing = dataclasses.replace(sharing, structure="lora", freeze="yes")
    return dataclasses.replace(config, optimizer=optimizer, sharing=sharing)


def new_task_answers(
    measured: Mapping[Learned, TextStates], *, draws: int = 2000
) -> dict[str, NewTask]:
    """What new tasks learned, from the runs that did not diverge.

    Args:
      measured: of each such run, its task's results on the test split.
      draws: of intervals and tests, see `mtljax.studies.difference`.

    Returns:
      By task.
    """
    return {
        name: _of_task(name, measured, draws)
        for name in dict.fromkeys(key.task for key in measured)
    }


def _of_task(name: str, measured: Mapping[Learned, TextStates], draws: int) -> NewTask:
    keys = [key for key in measured if key.task == name]
    counts = sorted({key.samples for key in keys})
    first = measured[keys[0]]
    values, gains = {}, {}
    for way in dict.fromkeys(key.way for key in keys):
        of_way, of_gains = [], []
        for count in counts:
            ours, alone = (
                {k.seed: measured[k] for k in keys if (k.way, k.samples) == (one, count)}
                for one in (way, "alone")
            )
            _check_rows(name, first, [*ours.values(), *alone.values()])
            states = [one.states for one in ours.values()]
            value = scaled(interval(states, draws=draws), first.unit) if states else None
            both = [seed for seed in ours if seed in alone]
            gain = None
            if both and way != "alone":
                pair = ([one[seed].states for seed in both] for one in (alone, ours))
                gain = scaled(difference(*pair, draws=draws), first.unit)
            of_way.append(value)
            of_gains.append(gain)
        values[way] = tuple(of_way)
        if way != "alone":
            gains[way] = tuple(of_gains)
    return NewTask(first.metric, first.lower_is_better, tuple(counts), values, gains)


def _check_rows(name: str, first: TextStates, others: Sequence[TextStates]) -> None:
    if any(not np.array_equal(first.rows, one.rows) for one in others):
        raise UserError(f"task {name!r}: its test texts differ between the runs of the study")

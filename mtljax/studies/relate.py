"""Does joint training help these tasks: the answer of a study, from its finished runs."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mtljax.data import MultitaskData, load_data
from mtljax.errors import UserError
from mtljax.inference import load_run
from mtljax.presets import Config, ConfigLike, check, read_config
from mtljax.studies.advice import advice_of, checked_advice, new_task_advice, too_short
from mtljax.studies.answers import Answer, Groups, TaskAnswer
from mtljax.studies.checked_groups import (
    Grouping,
    checked,
    gradient_groups,
    grouping_runs,
    groupings,
)
from mtljax.studies.comparison import scaled
from mtljax.studies.compiled_once import compiled_once
from mtljax.studies.data_cards import DataCard, data_cards
from mtljax.studies.intervals import difference, interval, mean_gain
from mtljax.studies.new_tasks import SAMPLES, Learned, new_task_answers, new_task_runs
from mtljax.studies.own_best import own_best_states
from mtljax.studies.study import JOINT, Budget, Done, StudyRun, do_runs, study_runs
from mtljax.studies.text_states import TextStates, text_states
from mtljax.studies.transfer import Moved, transfer_answer, transfer_runs
from mtljax.tasks import Task, TasksLike, parse_tasks
from mtljax.training.model import data_options
from mtljax.training.persistence import run_directory
from mtljax.training.pretrained_start import resolved
from mtljax.training.reporting.data_overview import total_steps
from mtljax.training.starting_point import origin_of, tokenizer_of

_OWN_BEST = "Of runs of several tasks each is measured at its own best step (stopping.keep_each)."


def relate(
    config: ConfigLike,
    tasks: TasksLike,
    directory: str | Path,
    *,
    seeds: int = 3,
    budget: Budget = "share",
    groups: int = 2,
    leave_out: Sequence[str] = (),
    samples: Sequence[int | str] = SAMPLES,
    transfer: bool = False,
    check_groups: int = 0,
    passes: float = 0.0,
    draws: int = 2000,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    on_run: Callable[[int, int, Done], None] = lambda number, count, done: None,
    **options: Any,
) -> Answer:
    """Trains tasks jointly and each alone, over seeds, and says which of them it helped.

    Called again it continues where it was interrupted. Validation chooses each run's checkpoint;
    nothing is chosen by the test split.

    Args:
      config: of the joint run, as `mtljax.train` takes it.
      tasks: two tasks or more, as `mtljax.train` takes them.
      directory: of the study, in which each run has a directory.
      seeds: how many, from that of the configuration on.
      budget: what each model of one task is given: its ``share`` of the joint run's tokens, or the
        ``whole``.
      groups: the most groups that tasks are put in.
      leave_out: tasks that are learned anew by a model of the others, see
        `mtljax.studies.new_tasks`; ``all`` for each.
      samples: training texts that they are learned from; ``all`` for all there are.
      transfer: whether the encoder of each task is tried on each other.
      check_groups: random groupings that the groups are compared with, by runs of all of them; 0
        for no such runs.
      passes: over the largest input group that a joint run has at most, whatever its steps; 0 for
        all its steps.
      draws: of intervals and tests, see `mtljax.studies.difference`.
      data_dir: directory of the data sets in TFDS format.
      cache_dir: directory where tokenised data is kept; None for nowhere.
      on_run: is called after every run with its number, their count, and what became of it.
      **options: `console` and `preempted` of `mtljax.studies.do_runs`.

    Returns:
      `Answer`.

    Raises:
      UserError: one task, no group, or what `mtljax.train` refuses; no run that did not diverge.
      Preempted: see `mtljax.train`.
    """
    if groups < 1:
        raise UserError(f"groups: must be 1 or more, got {groups}")
    if check_groups < 0:
        raise UserError(f"check-groups: must be 0 or more, got {check_groups}")
    if check_groups and budget != "share":
        raise UserError("check-groups: compares groupings of equal cost, which 'share' models have")
    directory = Path(directory)
    places: dict[str, Any] = {"data_dir": data_dir, "cache_dir": cache_dir}
    wanted: dict[str, Any] = {"leave_out": leave_out, "samples": samples, "transfer": transfer}
    wanted |= {"passes": passes}
    plan = plan_study(config, tasks, seeds=seeds, budget=budget, **wanted, **places)
    done = []

    def do(runs: Sequence[StudyRun]) -> None:
        for number, one in enumerate(do_runs(runs, directory, **places, **options), 1):
            done.append(one)
            on_run(number, len(runs), one)

    with compiled_once():
        do(plan.runs)
        found = _gradient_groups(plan, done, directory, groups)
        compared = {}
        if check_groups and found is not None:
            compared = groupings(found, check_groups)
            do(grouping_runs(plan.config, plan.tasks, plan.data, compared, seeds=seeds))
        return _answer(plan, directory, done, budget, found, compared, draws, places)


def runs_that_check(
    plan: "StudyPlan", directory: str | Path, *, groups: int = 2, check_groups: int = 3
) -> list[StudyRun]:
    """The runs that check the groups that a study found; none before its joint runs are done.

    Args:
      plan: from `plan_study`.
      directory: of the study.
      groups: the most groups that tasks are put in.
      check_groups: how many random groupings they are compared with.
    """
    joint = [run for run in plan.runs if run.part == "base" and run.alone is None]
    done = [_looked_up(run, Path(directory)) for run in joint]
    if any(one.summary is None for one in done):
        return []
    found = _gradient_groups(plan, done, Path(directory), groups)
    if found is None:
        return []
    compared = groupings(found, check_groups)
    return grouping_runs(plan.config, plan.tasks, plan.data, compared, seeds=len(joint))


def _looked_up(run: StudyRun, directory: Path) -> Done:
    there = directory / run.name
    summary = run_directory.read_summary(there) if run_directory.holds_run(there) else None
    return Done(run, summary, 0.0)


def _gradient_groups(
    plan: "StudyPlan", done: Sequence[Done], directory: Path, most: int
) -> Groups | None:
    runs = [one.run for one in done if one.summary is not None]
    joint = [run for run in runs if run.part == "base" and run.alone is None]
    return gradient_groups(plan.tasks, joint, directory, most)


class StudyPlan(NamedTuple):
    """What a study is to do.

    Attributes:
      tasks: that are learned jointly.
      runs: in the order in which they are to be done.
      cards: the data, by task.
      steps: of each run.
      learned: those of the runs that learn a new task, by what they tell.
      moved: those that try the encoder of a task on another, by what they tell.
      notes: what is not done as asked for, in sentences.
      config: of the joint run.
      data: of the joint run.
    """

    tasks: tuple[Task, ...]
    runs: list[StudyRun]
    cards: dict[str, DataCard]
    steps: int
    learned: dict[Learned, StudyRun]
    moved: dict[Moved, StudyRun]
    notes: tuple[str, ...]
    config: Config
    data: MultitaskData


def plan_study(
    config: ConfigLike,
    tasks: TasksLike,
    *,
    seeds: int = 3,
    budget: Budget = "share",
    leave_out: Sequence[str] = (),
    samples: Sequence[int | str] = SAMPLES,
    transfer: bool = False,
    passes: float = 0.0,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
) -> StudyPlan:
    """Reads the data of a study and says which runs it has.

    Another scheduler can do them, each by `do_runs` of that run alone; `relate` then finds them
    complete.

    Args:
      config: of the joint run, as `mtljax.train` takes it.
      tasks: two tasks or more, as `mtljax.train` takes them.
      seeds: how many, from that of the configuration on.
      budget: what each model of one task is given, see `relate`.
      leave_out: tasks that are learned anew by a model of the others, see `relate`.
      samples: training texts that they are learned from.
      transfer: whether the encoder of each task is tried on each other.
      passes: over the largest input group that a joint run has at most, see `relate`.
      data_dir: directory of the data sets in TFDS format.
      cache_dir: directory where tokenised data is kept; None for nowhere.

    Returns:
      `StudyPlan`.

    Raises:
      UserError: one task, or data that cannot be used.
    """
    config, tasks = resolved(read_config(config)), parse_tasks(tasks, Path.cwd())
    check(config)
    if config.optimizer.solver != "adamw":
        raise UserError(f"optimizer.solver {config.optimizer.solver!r}: a study trains in steps")
    # Of no run that has begun: what it starts from is read in any case.
    origin = origin_of(config, Path(config.encoder.from_run) / "study")
    data = load_data(
        tasks,
        data_options(config, tasks),
        data_dir=data_dir,
        tokenizer=tokenizer_of(origin, config),
        cache_dir=cache_dir,
    )
    config = _of_passes(config, data, passes)
    runs = study_runs(config, tasks, data, seeds=seeds, budget=budget)
    learned, more, notes = {}, [], ()
    if leave_out:
        learned, more, notes = new_task_runs(config, tasks, data, leave_out, samples, seeds=seeds)
    moved = {}
    if transfer:
        moved, of_transfer = transfer_runs(config, tasks, data, seeds=seeds)
        notes = (*notes, *of_transfer)
    return StudyPlan(
        tasks,
        [*runs, *more, *moved.values()],
        data_cards(data, tasks),
        total_steps(config, data),
        learned,
        moved,
        notes,
        config,
        data,
    )


def _of_passes(config: Config, data: MultitaskData, passes: float) -> Config:
    """A configuration with as many steps as before, or fewer and as many evaluations of them."""
    if not passes or config.epochs or len(data.stages) > 1:
        return config
    steps = total_steps(dataclasses.replace(config, epochs=passes), data)
    if steps >= config.steps:
        return config
    every = max(1, config.evaluate_every * steps // config.steps)
    return dataclasses.replace(config, steps=steps, evaluate_every=every)


def _answer(
    plan: StudyPlan,
    directory: Path,
    done: Sequence[Done],
    budget: Budget,
    found: Groups | None,
    compared: dict[str, list[Grouping]],
    draws: int,
    places: dict[str, Any],
) -> Answer:
    diverged = [one.run.name for one in done if one.summary is None]
    measured = {
        one.run.name: _measured(one.run, directory / one.run.name, places)
        for one in done
        if one.summary is not None
    }
    base = [one for one in done if one.run.part == "base"]
    finished = [one.run for one in base if one.summary is not None]
    seeds = tuple(dict.fromkeys(one.run.seed for one in base))
    answers, pairs = {}, {}
    for task in plan.tasks:
        alone, joint = _paired(task.name, finished, measured)
        if not alone:
            continue
        pairs[task.name] = ([one.states for one in alone], [one.states for one in joint])
        answers[task.name] = _of_task(task.name, alone, joint, draws)
    if not answers:
        raise UserError(f"{directory}: no task has a target in test and runs that did not diverge")
    lower = [answers[name].lower_is_better for name in pairs]
    same = len({len(first) for first, _ in pairs.values()}) == 1
    gain = mean_gain(list(pairs.values()), lower, draws=draws) if same else None
    new_tasks = new_task_answers(_of_runs(plan.learned, measured), draws=draws)
    transfer = None
    if plan.moved:
        alone = {
            (run.alone, run.seed): measured[run.name][run.alone]
            for run in finished
            if run.alone is not None and run.alone in measured[run.name]
        }
        transfer = transfer_answer(
            _of_runs(plan.moved, measured),
            alone,
            [task.name for task in plan.tasks],
            _seconds(done, lambda run: run.part == "transfer"),
            draws=draws,
        )
    comparison = checked(compared, measured, seeds, draws=draws) if compared else ()
    return Answer(
        answers,
        gain,
        found,
        (
            *advice_of(answers, None if comparison else found),
            *checked_advice(comparison),
            *new_task_advice(new_tasks),
            *plan.notes,
            *([_OWN_BEST] if plan.config.stopping.keep_each else []),
            *too_short(base),
        ),
        plan.cards,
        budget,
        seeds,
        plan.steps,
        (
            _seconds(base, lambda run: run.alone is None),
            _seconds(base, lambda run: run.alone is not None),
        ),
        tuple(diverged),
        str(directory),
        new_tasks,
        transfer,
        comparison,
    )


def _measured(run: StudyRun, directory: Path, places: dict[str, Any]) -> dict[str, TextStates]:
    """The metrics of a run on the test split, by task."""
    if run.config.stopping.keep_each and len(run.tasks) > 1:
        return own_best_states(directory, "test", **places)
    return text_states(load_run(directory), "test", **places)


def _of_runs(
    runs: dict[Any, StudyRun], measured: dict[str, dict[str, TextStates]]
) -> dict[Any, TextStates]:
    """Results of the one task of each run, by what the run tells, where it did not diverge."""
    return {
        key: measured[run.name][run.tasks[0].name]
        for key, run in runs.items()
        if run.name in measured and run.tasks[0].name in measured[run.name]
    }


def _seconds(done: Sequence[Done], which: Callable[[StudyRun], bool]) -> float:
    return sum(one.summary["wall_seconds"] for one in done if one.summary and which(one.run))


def _paired(
    task: str, finished: Sequence[StudyRun], measured: dict[str, dict[str, TextStates]]
) -> tuple[list[TextStates], list[TextStates]]:
    """Of the seeds that have both, a task's results alone and in the joint model."""
    by_seed: dict[int, dict[bool, TextStates]] = {}
    for run in finished:
        if run.alone in (None, task) and task in measured[run.name]:
            by_seed.setdefault(run.seed, {})[run.alone is None] = measured[run.name][task]
    both = [one for one in by_seed.values() if len(one) == 2]
    for one in both:
        if not np.array_equal(one[True].rows, one[False].rows):
            raise UserError(f"task {task!r}: its test texts differ between the runs of the study")
    return [one[False] for one in both], [one[True] for one in both]


def _of_task(
    name: str, alone: Sequence[TextStates], joint: Sequence[TextStates], draws: int
) -> TaskAnswer:
    first, second = ([one.states for one in of_runs] for of_runs in (alone, joint))
    unit, lower = alone[0].unit, alone[0].lower_is_better
    found = difference(first, second, draws=draws)
    verdict = "not told apart"
    if found.low > 0 or found.high < 0:
        verdict = "helps" if (found.value < 0) == lower else "costs"
    return TaskAnswer(
        alone[0].metric,
        lower,
        scaled(interval(first, draws=draws), unit),
        scaled(interval(second, draws=draws), unit),
        scaled(found, unit),
        verdict,
    )


def joint_directory(answer: Answer) -> Path:
    """The directory of the first joint run of a study."""
    return Path(answer.directory) / f"{JOINT}-seed{answer.seeds[0]}"

"""Does joint training help these tasks: the answer of a study, from its finished runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mtljax.data import load_data
from mtljax.errors import UserError
from mtljax.inference import load_run
from mtljax.presets import ConfigLike, check, read_config
from mtljax.relatedness import affinity_of_metrics, best_grouping
from mtljax.studies.advice import advice_of, new_task_advice, too_short
from mtljax.studies.answers import Answer, Groups, TaskAnswer
from mtljax.studies.comparison import scaled
from mtljax.studies.data_cards import DataCard, data_cards
from mtljax.studies.intervals import difference, interval, mean_gain
from mtljax.studies.new_tasks import SAMPLES, Learned, new_task_answers, new_task_runs
from mtljax.studies.study import JOINT, Budget, Done, StudyRun, do_runs, study_runs
from mtljax.studies.text_states import TextStates, text_states
from mtljax.tasks import Task, TasksLike, parse_tasks
from mtljax.training import read_metrics
from mtljax.training.model import data_options
from mtljax.training.pretrained_start import resolved
from mtljax.training.reporting.data_overview import total_steps
from mtljax.training.starting_point import origin_of, tokenizer_of


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
    directory = Path(directory)
    places: dict[str, Any] = {"data_dir": data_dir, "cache_dir": cache_dir}
    wanted: dict[str, Any] = {"leave_out": leave_out, "samples": samples}
    plan = plan_study(config, tasks, seeds=seeds, budget=budget, **wanted, **places)
    done = []
    for number, one in enumerate(do_runs(plan.runs, directory, **places, **options), 1):
        done.append(one)
        on_run(number, len(plan.runs), one)
    return _answer(plan, directory, done, budget, groups, draws, places)


class StudyPlan(NamedTuple):
    """What a study is to do.

    Attributes:
      tasks: that are learned jointly.
      runs: in the order in which they are to be done.
      cards: the data, by task.
      steps: of each run.
      learned: those of the runs that learn a new task, by what they tell.
      notes: what is not done as asked for, in sentences.
    """

    tasks: tuple[Task, ...]
    runs: list[StudyRun]
    cards: dict[str, DataCard]
    steps: int
    learned: dict[Learned, StudyRun]
    notes: tuple[str, ...]


def plan_study(
    config: ConfigLike,
    tasks: TasksLike,
    *,
    seeds: int = 3,
    budget: Budget = "share",
    leave_out: Sequence[str] = (),
    samples: Sequence[int | str] = SAMPLES,
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
      data_dir: directory of the data sets in TFDS format.
      cache_dir: directory where tokenised data is kept; None for nowhere.

    Returns:
      `StudyPlan`.

    Raises:
      UserError: one task, or data that cannot be used.
    """
    config, tasks = resolved(read_config(config)), parse_tasks(tasks, Path.cwd())
    check(config)
    # Of no run that has begun: what it starts from is read in any case.
    origin = origin_of(config, Path(config.encoder.from_run) / "study")
    data = load_data(
        tasks,
        data_options(config, tasks),
        data_dir=data_dir,
        tokenizer=tokenizer_of(origin, config),
        cache_dir=cache_dir,
    )
    runs = study_runs(config, tasks, data, seeds=seeds, budget=budget)
    learned, more, notes = {}, [], ()
    if leave_out:
        learned, more, notes = new_task_runs(config, tasks, data, leave_out, samples, seeds=seeds)
    steps = total_steps(config, data)
    return StudyPlan(tasks, [*runs, *more], data_cards(data, tasks), steps, learned, notes)


def _answer(
    plan: StudyPlan,
    directory: Path,
    done: Sequence[Done],
    budget: Budget,
    groups: int,
    draws: int,
    places: dict[str, Any],
) -> Answer:
    diverged = [one.run.name for one in done if one.summary is None]
    ended = {one.run.name for one in done if one.summary is not None}
    learned = {
        key: text_states(load_run(directory / run.name), "test", **places)[key.task]
        for key, run in plan.learned.items()
        if run.name in ended
    }
    new_tasks = new_task_answers(learned, draws=draws)
    done = [one for one in done if one.run.part == "base"]
    finished = [one.run for one in done if one.summary is not None]
    measured = {
        run.name: text_states(load_run(directory / run.name), "test", **places) for run in finished
    }
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
    found = _groups(plan.tasks, finished, directory, groups)
    seconds = [
        sum(one.summary["wall_seconds"] for one in done if one.summary and keep(one.run))
        for keep in (lambda run: run.alone is None, lambda run: run.alone is not None)
    ]
    return Answer(
        answers,
        gain,
        found,
        (*advice_of(answers, found), *new_task_advice(new_tasks), *plan.notes, *too_short(done)),
        plan.cards,
        budget,
        tuple(dict.fromkeys(one.run.seed for one in done)),
        plan.steps,
        (seconds[0], seconds[1]),
        tuple(diverged),
        str(directory),
        new_tasks,
    )


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


def _groups(
    tasks: Sequence[Task], finished: Sequence[StudyRun], directory: Path, most: int
) -> Groups | None:
    names = [task.name for task in tasks]
    of_runs = []
    for run in finished:
        if run.alone is None and run.config.gradients.telemetry:
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


def joint_directory(answer: Answer) -> Path:
    """The directory of the first joint run of a study."""
    return Path(answer.directory) / f"{JOINT}-seed{answer.seeds[0]}"

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
from mtljax.studies.comparison import scaled
from mtljax.studies.data_cards import DataCard, data_cards
from mtljax.studies.intervals import Difference, Interval, difference, interval, mean_gain
from mtljax.studies.study import JOINT, Budget, Done, StudyRun, do_runs, study_runs
from mtljax.studies.text_states import TextStates, text_states
from mtljax.tasks import Task, TasksLike, parse_tasks
from mtljax.training import read_metrics
from mtljax.training.model import data_options
from mtljax.training.pretrained_start import resolved
from mtljax.training.reporting.data_overview import total_steps
from mtljax.training.starting_point import origin_of, tokenizer_of


class TaskAnswer(NamedTuple):
    """Whether joint training helps one task.

    Attributes:
      metric: its main metric, on the test split.
      lower_is_better: whether a smaller value is better.
      alone: of its own models, over seeds.
      joint: of the joint models.
      difference: joint minus alone, paired by texts and seeds.
      verdict: 'helps', 'costs', or 'not told apart' where the interval does not exclude 0.
    """

    metric: str
    lower_is_better: bool
    alone: Interval
    joint: Interval
    difference: Difference
    verdict: str


class Groups(NamedTuple):
    """Which tasks the gradients of the joint runs would put together.

    Attributes:
      names: of the tasks, in the order of the other fields.
      affinity: ``[T, T]``, from a row onto a column: the share of a task's loss that a step of
        another takes away, relative to what its own step takes away; 0 on the diagonal.
      labels: the group of each task.
      gains: of each task in its group.
      errors: their standard errors over seeds, or over the lines of one run; None for one line.
    """

    names: tuple[str, ...]
    affinity: tuple[tuple[float, ...], ...]
    labels: tuple[int, ...]
    gains: tuple[float, ...]
    errors: tuple[float, ...] | None


class Answer(NamedTuple):
    """The answer of a study.

    Attributes:
      tasks: by name; those without a target in the test split, or whose runs all diverged, are not
        there.
      mean_gain: the mean relative gain over these tasks, a share; None where there is none.
      groups: None where gradients were not recorded.
      advice: what follows, in sentences.
      cards: the data, by task.
      budget: what each model of one task was given.
      seeds: the seeds that were used.
      steps: of each run.
      seconds: of the steps of all joint runs, and of all others.
      diverged: names of runs that did.
      directory: of the study.
    """

    tasks: dict[str, TaskAnswer]
    mean_gain: Interval | None
    groups: Groups | None
    advice: tuple[str, ...]
    cards: dict[str, DataCard]
    budget: Budget
    seeds: tuple[int, ...]
    steps: int
    seconds: tuple[float, float]
    diverged: tuple[str, ...]
    directory: str


def relate(
    config: ConfigLike,
    tasks: TasksLike,
    directory: str | Path,
    *,
    seeds: int = 3,
    budget: Budget = "share",
    groups: int = 2,
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
    places = {"data_dir": data_dir, "cache_dir": cache_dir}
    plan = plan_study(config, tasks, seeds=seeds, budget=budget, **places)
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
    """

    tasks: tuple[Task, ...]
    runs: list[StudyRun]
    cards: dict[str, DataCard]
    steps: int


def plan_study(
    config: ConfigLike,
    tasks: TasksLike,
    *,
    seeds: int = 3,
    budget: Budget = "share",
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
    return StudyPlan(tasks, runs, data_cards(data, tasks), total_steps(config, data))


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
        (*_advice(answers, found), *_too_short(done)),
        plan.cards,
        budget,
        tuple(dict.fromkeys(one.run.seed for one in done)),
        plan.steps,
        (seconds[0], seconds[1]),
        tuple(diverged),
        str(directory),
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


def _advice(answers: dict[str, TaskAnswer], groups: Groups | None) -> list[str]:
    """What follows from the differences; the groups of gradients are a hint, and said as such."""
    by_verdict = {
        verdict: [name for name, one in answers.items() if one.verdict == verdict]
        for verdict in ("helps", "costs", "not told apart")
    }
    advice = []
    if helped := by_verdict["helps"]:
        advice.append(f"Joint training helps {listed(helped)}.")
    if hurt := by_verdict["costs"]:
        costs = listed([f"{name} ({change(answers[name])})" for name in hurt])
        advice.append(f"It costs {costs}: train {'it' if len(hurt) == 1 else 'them'} apart.")
    if unsure := by_verdict["not told apart"]:
        advice.append(
            f"The interval does not exclude 0 for {listed(unsure)}: more seeds or more test texts "
            "would tell, or joint training for the sake of one model."
        )
    if groups is not None and len(set(groups.labels)) > 1:
        parts = [
            listed([n for n, label in zip(groups.names, groups.labels, strict=True) if label == g])
            for g in dict.fromkeys(groups.labels)
        ]
        advice.append(
            f"By their gradients the tasks would be grouped as {'; '.join(parts)}: a hint for the "
            "next study, not a result of this one."
        )
    return advice


def _too_short(done: Sequence[Done]) -> list[str]:
    """A warning where runs were best at their last step: longer ones may tell something else."""
    summaries = [one.summary for one in done if one.summary is not None]
    last = sum(summary["best_step"] == summary["steps"] for summary in summaries)
    if 2 * last <= len(summaries):
        return []
    return [
        f"{last} of {len(summaries)} runs were best at their last step: with more steps the answer "
        "may be another."
    ]


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def change(answer: TaskAnswer) -> str:
    """The difference of a task in its own units, with a sign."""
    from mtljax.training.reporting.progress import SHARES

    if answer.metric in SHARES:
        return f"{100 * answer.difference.value:+.1f} points of {answer.metric.replace('_', ' ')}"
    return f"{answer.difference.value:+.4g} in {answer.metric.replace('_', ' ')}"


def joint_directory(answer: Answer) -> Path:
    """The directory of the first joint run of a study."""
    return Path(answer.directory) / f"{JOINT}-seed{answer.seeds[0]}"

"""The runs of a study: several tasks in one model, and each task in a model of its own."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
from rich.console import Console

from mtljax.data import MultitaskData
from mtljax.data.batching.mixture import MixtureSettings, inclusion
from mtljax.errors import Diverged, UserError
from mtljax.presets import Config, ParallelConfig
from mtljax.studies.other_tasks import parameter_paths, without_patterns_of
from mtljax.tasks import Task
from mtljax.training import build_model
from mtljax.training.loop import train_in_steps
from mtljax.training.model import Model, initial_params
from mtljax.training.persistence import run_directory
from mtljax.training.reporting.data_overview import class_counts, total_steps
from mtljax.training.starting_point import Given, StartingPoint, origin_of, starting_point

Budget = Literal["share", "whole"]
"""What a model of one task is given: the tokens of its input group in the joint run, so that, where
no tasks read the same texts, all models of one task cost what the joint one costs; or as many as
the whole joint run."""

JOINT = "joint"
_MEASURED_EVERY = 10
_EXACT = ("auto", "unrolled", "vmapped", "scanned")


class StudyRun(NamedTuple):
    """A run of a study.

    Attributes:
      name: of its directory, inside of that of the study.
      config: its configuration.
      tasks: what it learns.
      seed: its seed.
      given: the tokenizer and the classes of the joint run, so that all runs measure the same; None
        where a pretrained model or another run has them.
      alone: the task that it learns alone; None for the joint run.
      part: of the study: 'base', jointly or alone; 'rest', all tasks but a new one; 'new', that;
        'transfer', a head on the encoder of another task; 'group', some tasks together.
      origin: the run whose encoder it begins with, and whose tokenizer it has; if empty, none.
      drawn: whether it takes the tokenizer alone from there.
    """

    name: str
    config: Config
    tasks: tuple[Task, ...]
    seed: int
    given: Given | None = None
    alone: str | None = None
    part: Literal["base", "rest", "new", "transfer", "group"] = "base"
    origin: str = ""
    drawn: bool = False


def study_runs(
    config: Config,
    tasks: Sequence[Task],
    data: MultitaskData,
    *,
    seeds: int = 3,
    budget: Budget = "share",
) -> list[StudyRun]:
    """The runs that answer whether tasks help each other, seed by seed.

    All have the configuration and the tokenizer of the joint run but for what `Budget` says, and
    for settings that are of other tasks; none of them is tuned.

    Args:
      config: of the joint run; its seed is the first.
      tasks: what is learned jointly, two tasks or more.
      data: of the joint run.
      seeds: how many.
      budget: of the models of one task.

    Returns:
      The runs, in the order in which they are to be done.

    Raises:
      UserError: for one task, or no seed.
    """
    if len(tasks) < 2:
        raise UserError("tasks: one task alone has none that it could be related to")
    if seeds < 1:
        raise UserError(f"seeds: must be 1 or more, got {seeds}")
    # Affinities come with the joint run, where its gradients are exact.
    telemetry = config.gradients.strategy in _EXACT
    steps = total_steps(config, data)
    every = max(1, min(_MEASURED_EVERY, config.log_every, steps)) if telemetry else 1
    gradients = dataclasses.replace(config.gradients, telemetry=telemetry, telemetry_every=every)
    given = None
    if not (config.encoder.pretrained or config.encoder.from_run):
        given = Given(data.tokenizer, data.outputs)
    paths = paths_of(config, data)
    found = []
    for seed in range(config.seed, config.seed + seeds):
        joint = dataclasses.replace(config, seed=seed, gradients=gradients)
        found.append(StudyRun(f"{JOINT}-seed{seed}", joint, tuple(tasks), seed, given))
        for task in tasks:
            alone = alone_config(dataclasses.replace(config, seed=seed), task, data, steps, budget)
            others = [one.name for one in tasks if one is not task]
            alone = without_patterns_of(alone, paths, others)
            name = f"alone-{task.name}-seed{seed}"
            found.append(StudyRun(name, alone, (alone_task(task),), seed, given, task.name))
    return found


def paths_of(config: Config, data: MultitaskData) -> list[str]:
    """The paths of all parameters of a joint run."""
    model = build_model(config, data.layout, class_counts(data))
    return parameter_paths(jax.eval_shape(lambda: initial_params(model)))


def several_config(
    config: Config,
    tasks: Sequence[Task],
    some: Sequence[Task],
    data: MultitaskData,
    paths: Sequence[str],
) -> Config:
    """The configuration of some of the tasks, which read as many tokens as in the joint run.

    Args:
      config: of the joint run.
      tasks: of the joint run.
      some: one of them or more.
      data: of the joint run.
      paths: from `paths_of`.
    """
    groups = {data.layout.group_of(task.name).name for task in some}
    shapes = [data.layout.shapes[name] for name in groups]
    tokens = sum(shape.rows * shape.row_length for shape in shapes)
    names = [task.name for task in some]
    stopping = config.stopping
    if stopping.task and stopping.task not in names:
        stopping = dataclasses.replace(stopping, task="")
    changed = dataclasses.replace(
        config,
        steps=total_steps(config, data),
        epochs=0.0,
        stopping=stopping,
        batch=dataclasses.replace(config.batch, tokens=tokens),
        parallel=by_rows(config.parallel),
        gradients=dataclasses.replace(config.gradients, telemetry=False, telemetry_every=1),
    )
    if len(some) == 1:
        regularizer = dataclasses.replace(
            config.regularizer, heads_together=0.0, heads_relation=0.0
        )
        changed = dataclasses.replace(
            changed, weighting="equal", weighting_options={}, regularizer=regularizer
        )
    mixture = config.mixture
    if len(groups) < 2 or mixture.reference:  # which is a run of all tasks
        mixture = _given_rates(mixture)
    elif mixture.target not in names:
        mixture = dataclasses.replace(mixture, target="")
    changed = dataclasses.replace(changed, mixture=mixture)
    others = [task.name for task in tasks if task.name not in names]
    return without_patterns_of(changed, paths, others)


def alone_task(task: Task) -> Task:
    """A task without what is said of its place among others."""
    return dataclasses.replace(
        task, rate=None, batch_size=None, weight=1.0, head=None, own_head=False
    )


def alone_config(
    config: Config, task: Task, data: MultitaskData, steps: int, budget: Budget
) -> Config:
    """The configuration of a task alone.

    Args:
      config: of the joint run.
      task: the task.
      data: of the joint run.
      steps: of the joint run.
      budget: of the model.

    Returns:
      A configuration, in which expressions may find parameters of other tasks.
    """
    tokens = config.batch.tokens
    if budget == "share":
        group = data.layout.group_of(task.name)
        shape = data.layout.shapes[group.name]
        tokens = shape.rows * shape.row_length
        count = config.mixture.groups_in_step(len(data.groups))
        if count:  # the joint run reads this group in some steps alone
            steps = max(1, round(steps * inclusion(data.rates(), count)[group.name]))
    return dataclasses.replace(
        config,
        steps=steps,
        epochs=0.0,
        weighting="equal",
        weighting_options={},
        batch=dataclasses.replace(config.batch, tokens=tokens),
        regularizer=dataclasses.replace(config.regularizer, heads_together=0.0, heads_relation=0.0),
        gradients=dataclasses.replace(config.gradients, telemetry=False, telemetry_every=1),
        stopping=dataclasses.replace(config.stopping, task=""),
        mixture=_given_rates(config.mixture),
        parallel=by_rows(config.parallel),
    )


def _given_rates(mixture: MixtureSettings) -> MixtureSettings:
    """A mixture whose rates are not learned."""
    return dataclasses.replace(mixture, schedule="off", subset=0, target="", reference="")


def by_rows(parallel: ParallelConfig) -> ParallelConfig:
    """As many devices, all of which share the rows: a task alone has no groups of them."""
    if parallel.task == 1:
        return parallel
    known = parallel.task > 1 and parallel.data > 0
    data = parallel.task * parallel.data if known else 0
    return dataclasses.replace(parallel, task=1, data=data, placement="auto", exchange="auto")


class Done(NamedTuple):
    """A run that was done.

    Attributes:
      run: which.
      summary: content of its `summary.json`; None if it diverged.
      seconds: that it took now; next to none where it had been done before.
    """

    run: StudyRun
    summary: dict[str, Any] | None
    seconds: float


def do_runs(
    runs: Sequence[StudyRun],
    directory: Path,
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    console: Console | None = None,
    preempted: Callable[[int], bool] = lambda step: False,
) -> Iterator[Done]:
    """Train the runs of a study, one after another; those that are complete are left as they are.

    Args:
      runs: from `study_runs`.
      directory: of the study.
      data_dir: directory of the data sets in TFDS format.
      cache_dir: directory where tokenised data is kept; None for nowhere.
      console: where the progress of each run is shown; None for nowhere.
      preempted: see `mtljax.train`.

    Yields:
      Each run when it is done; one that begins from a diverged one counts as diverged too.

    Raises:
      UserError: see `mtljax.train`; but a run that diverges is reported, and others go on. The run
        that another begins from is not done.
      Preempted: after `preempted` returned True; the next call continues.
    """
    diverged = set()
    for run in runs:
        began = time.monotonic()
        summary = None
        if run.origin not in diverged:
            config, given = _start_of(run, directory)
            with contextlib.suppress(Diverged):
                summary = train_in_steps(
                    config,
                    run.tasks,
                    directory / run.name,
                    data_dir=data_dir,
                    cache_dir=cache_dir,
                    console=console or Console(quiet=True),
                    preempted=preempted,
                    given=given,
                )
        if summary is None:
            diverged.add(run.name)
        yield Done(run, summary, time.monotonic() - began)
        # Programs of a run that is done serve no other.
        jax.clear_caches()


def _start_of(run: StudyRun, directory: Path) -> tuple[Config, Given | None]:
    """The configuration of a run and what it starts from, in the directory of its study."""
    if not run.origin:
        return run.config, run.given
    origin = directory / run.origin
    if not run_directory.holds_run(origin) or run_directory.read_summary(origin) is None:
        raise UserError(f"{run.name}: begins from {run.origin}, which is not done in {directory}")
    config = run.config
    if not run.drawn:
        encoder = dataclasses.replace(
            config.encoder, from_run=str(origin), pretrained="", vectors=""
        )
        config = dataclasses.replace(config, encoder=encoder)
    files = origin_of(config, directory / run.name)

    def begun(model: Model, data: MultitaskData) -> StartingPoint:
        start = starting_point(config, model, data, files, lambda line: None)
        assert start is not None
        return start

    assert run.given is not None
    tokenizer = run_directory.read_run(origin).tokenizer
    return config, run.given._replace(tokenizer=tokenizer, parameters=begun if files else None)

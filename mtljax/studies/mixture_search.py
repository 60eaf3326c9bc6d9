"""A fixed mixture chosen by small runs at drawn rates and a regression on them."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from mtljax.data import MultitaskData
from mtljax.errors import UserError
from mtljax.mixtures import Proposal, drawn_rates, propose_rates
from mtljax.presets import Config
from mtljax.studies.study import Done, StudyRun, do_runs
from mtljax.tasks import Task, dump_tasks
from mtljax.training.persistence.atomic_write import replace_text
from mtljax.training.starting_point import Given


class MixtureSearch(NamedTuple):
    """What a search found.

    Attributes:
      groups: names of the input groups, in the order of the rates.
      rates: ``[N, K]`` of the runs that did not diverge.
      losses: ``[N]`` of these on validation: of the target, or the mean over all tasks.
      proposal: what the regression proposes.
      by_task: the proposed rate of each task's input group, as `rate` of a tasks file.
    """

    groups: tuple[str, ...]
    rates: np.ndarray
    losses: np.ndarray
    proposal: Proposal
    by_task: dict[str, float]


def mixture_runs(
    config: Config, tasks: Sequence[Task], data: MultitaskData, *, count: int, seed: int = 0
) -> list[StudyRun]:
    """Runs of one configuration at rates drawn around those that it has, the first at these.

    Args:
      config: of every run; make it smaller than what is trained in the end. Where it has no
        `mixture.subset`, a step reads one input group, so that any rates can be kept.
      tasks: what is learned.
      data: of a run of them.
      count: how many runs.
      seed: of the draws.

    Raises:
      UserError: for one input group, or fewer runs than a regression needs.
    """
    groups = [group.name for group in data.groups]
    if len(groups) < 2:
        raise UserError(f"tasks: all read one input group, {groups[0]!r}: there is nothing to mix")
    if count < len(groups) + 1:
        raise UserError(f"runs: {len(groups)} input groups need {len(groups) + 1}, got {count}")
    mixture = dataclasses.replace(
        config.mixture, schedule="off", target="", reference="", subset=config.mixture.subset or 1
    )
    given = None
    if not (config.encoder.pretrained or config.encoder.from_run):
        given = Given(data.tokenizer, data.outputs)
    prior = data.rates()
    runs = []
    for number, rates in enumerate(drawn_rates(count, [prior[name] for name in groups], seed=seed)):
        of_group = dict(zip(groups, rates.tolist(), strict=True))
        mixed = tuple(
            dataclasses.replace(
                task, rate=of_group[data.layout.group_of(task.name).name], batch_size=None
            )
            for task in tasks
        )
        alike = dataclasses.replace(config, mixture=mixture)
        runs.append(StudyRun(f"mixture-{number}", alike, mixed, config.seed, given))
    return runs


def search_mixture(
    config: Config,
    tasks: Sequence[Task],
    data: MultitaskData,
    directory: Path,
    *,
    count: int = 32,
    target: str = "",
    seed: int = 0,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    on_run: Callable[[int, int, Done], None] = lambda number, count, done: None,
    console: Console | None = None,
    preempted: Callable[[int], bool] = lambda step: False,
) -> MixtureSearch:
    """Train `mixture_runs`, those that are complete excepted, and propose rates from their losses.

    Called again after it was interrupted, it goes on where it was.

    Args:
      config: see `mixture_runs`.
      tasks: see `mixture_runs`.
      data: see `mixture_runs`.
      directory: where the runs are kept.
      count: how many runs.
      target: the task whose validation loss counts; if empty, the mean over all tasks.
      seed: of the draws.
      data_dir: see `do_runs`.
      cache_dir: see `do_runs`.
      on_run: is called after every run with its number, their count, and what became of it.
      console: see `do_runs`.
      preempted: see `do_runs`.

    Raises:
      UserError: see `mixture_runs` and `do_runs`; a target without a loss on validation, or too
        many runs that diverged.
    """
    runs = mixture_runs(config, tasks, data, count=count, seed=seed)
    groups = tuple(group.name for group in data.groups)
    group_of = {task.name: data.layout.group_of(task.name).name for task in tasks}
    if target and target not in group_of:
        raise UserError(f"target {target!r}: unknown; one of {', '.join(group_of)}")
    options: dict[str, Any] = {
        "data_dir": data_dir,
        "cache_dir": cache_dir,
        "console": console,
        "preempted": preempted,
    }
    rates, losses = [], []
    for number, done in enumerate(do_runs(runs, directory, **options), start=1):
        on_run(number, len(runs), done)
        if done.summary is None:
            continue
        found = {
            name: values["validation"].get("loss") for name, values in done.summary["tasks"].items()
        }
        counted = [loss for name, loss in found.items() if not target or name == target]
        if not counted or None in counted:
            which = target or next(name for name, loss in found.items() if loss is None)
            raise UserError(f"task {which!r}: has no loss on validation to choose rates by")
        rate_of = {group_of[task.name]: task.rate for task in done.run.tasks}
        rates.append([rate_of[name] for name in groups])
        losses.append(float(np.mean(counted)))
    if len(losses) < len(groups) + 1:
        raise UserError(f"{directory}: {len(losses)} runs are left, the others diverged; too few")
    proposal = propose_rates(np.asarray(rates), np.asarray(losses), seed=seed)
    proposed = dict(zip(groups, proposal.rates.tolist(), strict=True))
    return MixtureSearch(
        groups,
        np.asarray(rates),
        np.asarray(losses),
        proposal,
        {name: round(proposed[group], 4) for name, group in group_of.items()},
    )


def write_mixture(found: MixtureSearch, tasks: Sequence[Task], directory: Path) -> Path:
    """Write the tasks with the rates that a search proposes.

    Args:
      found: from `search_mixture`.
      tasks: that were searched.
      directory: of the search.

    Returns:
      The path of ``tasks.yaml`` there.

    Raises:
      UserError: if it cannot be written.
    """
    rated = [
        dataclasses.replace(task, rate=found.by_task[task.name], batch_size=None) for task in tasks
    ]
    path = directory / "tasks.yaml"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        replace_text(path, dump_tasks(rated))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    return path

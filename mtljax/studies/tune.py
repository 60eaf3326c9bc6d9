"""A search for settings within a budget of time, by validation scores; resumable."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from mtljax.errors import UserError
from mtljax.presets import Config, dump_config
from mtljax.studies.compiled_once import compiled_once
from mtljax.studies.halving import (
    SHARES,
    Costs,
    Round,
    affordable,
    drawn_settings,
    shortened,
)
from mtljax.studies.study import Done, StudyRun, do_runs
from mtljax.tasks import Task, dump_tasks
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.atomic_write import replace_text

_NOTES = "search.json"
_MOST = 10_000  # settings
_SLACK = 1.1  # of the budget, for runs that take longer than the first one said


class Trial(NamedTuple):
    """A run of a search.

    Attributes:
      name: of its directory, inside of that of the search.
      settings: number of its settings; 0 for those that were given.
      share: of the steps of a whole run that it has.
      score: on validation, see `mtljax.training.evaluation.score`; minus infinity if it diverged.
      seconds: that it took, over all its starts.
      stepping: seconds that all its steps take, of which it may have done a part.
    """

    name: str
    settings: int
    share: float
    score: float
    seconds: float
    stepping: float


class Tuned(NamedTuple):
    """What a search found.

    Attributes:
      config: the best settings.
      tasks: with their weights.
      best: the run that has them.
      given: the run of the settings that were given with the most steps.
      trials: all runs.
      seconds: that all of them took.
    """

    config: Config
    tasks: tuple[Task, ...]
    best: Trial
    given: Trial
    trials: tuple[Trial, ...]
    seconds: float


def tune(
    config: Config,
    tasks: Sequence[Task],
    directory: Path,
    *,
    seconds: float,
    most: int = 27,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
    console: Console | None = None,
    preempted: Callable[[int], bool] = lambda step: False,
) -> Tuned:
    """Search learning rate, regularization and task weights by successive halving.

    A first run, of a ninth of the steps, says what a run costs. As many settings as the budget
    then allows are tried for a ninth of the steps, a third of them for a third, and a third of
    these for all; where short runs are hardly cheaper than whole ones, all have whole runs. Every
    run is one from the beginning, so that the best is a run that can be repeated. Where runs take
    longer than the first one said, fewer are done. Called again after it was interrupted, or with
    another budget, it goes on with the runs that are done.

    Args:
      config: whose steps are those of a whole run; the first settings that are tried.
      tasks: what is learned.
      directory: of the search; `best.yaml` and `tasks.yaml` there have what was found.
      seconds: the budget.
      most: settings that are tried at most.
      data_dir: directory of data sets in TFDS format.
      cache_dir: directory where tokenised data is kept; None for nowhere.
      on_trial: is called with each run that is done.
      console: where the progress of each run is shown; None for nowhere.
      preempted: see `mtljax.train`.

    Raises:
      UserError: for a budget that is too small for one whole run, a solver, no step, no score on
        validation, a directory with another search; and as `mtljax.train`.
      Preempted: after `preempted` returned True; the next call continues.
    """
    _check(config, most)
    asked = {
        "another configuration": dump_config(config),
        "other tasks": dump_tasks(tuple(tasks)),
    }
    known = _done_before(directory, asked)
    trials: list[Trial] = []
    places: dict[str, Any] = {"data_dir": data_dir, "cache_dir": cache_dir}

    def run(number: int, round_: int) -> Trial:
        name, share = f"round{round_}-{number:02d}", SHARES[round_]
        if (trial := known.get(name)) is None:
            chosen, weighed = drawn_settings(config, tasks, number, config.seed)
            planned = shortened(chosen, share)
            runs = [StudyRun(name, planned, weighed, chosen.seed)]
            (done,) = do_runs(runs, directory, **places, console=console, preempted=preempted)
            known[name] = trial = _trial(name, number, share, planned, done)
            notes = {"asked": asked, "trials": [list(one) for one in known.values()]}
            replace_text(directory / _NOTES, json.dumps(notes))
        trials.append(trial)
        on_trial(trial)
        return trial

    with compiled_once():
        first = run(0, 0)
        costs = Costs(max(first.seconds - first.stepping, 0.0), first.stepping / first.share)
        rounds = affordable(costs, seconds, most)
        if not rounds:
            raise UserError(
                f"budget: {seconds:.0f} s are too few for one whole run, which takes about "
                f"{costs.of(1.0):.0f} s here; give more, or fewer --steps"
            )
        _halve(rounds, costs, seconds, trials, run)
    best = max(trials, key=lambda trial: (trial.share, trial.score))
    return _found(
        directory, drawn_settings(config, tasks, best.settings, config.seed), best, trials, seconds
    )


def _halve(
    rounds: Sequence[Round],
    costs: Costs,
    seconds: float,
    trials: list[Trial],
    run: Callable[[int, int], Trial],
) -> None:
    """Do the rounds, as long as the budget lasts for a whole run after each of its runs."""
    going_on = list(range(rounds[0].count))
    for number, round_ in enumerate(rounds, len(SHARES) - len(rounds)):
        last = number == len(SHARES) - 1
        going_on = going_on[: round_.count]
        scores: dict[int, float] = {}
        for one in going_on:
            if (number, one) == (0, 0):
                scores[0] = trials[0].score
                continue
            # What was done decides, so that a search that was interrupted decides the same; the
            # best has its whole run, whatever it takes.
            spent = sum(trial.seconds for trial in trials)
            slower = max(1.0, spent / sum(costs.of(trial.share) for trial in trials))
            needed = slower * (costs.of(round_.share) + (0.0 if last else costs.of(1.0)))
            if spent + needed > _SLACK * seconds and not (last and not scores):
                break
            scores[one] = run(one, number).score
        if scores:
            going_on = sorted(scores, key=lambda one: -scores[one])


def _found(
    directory: Path,
    settings: tuple[Config, tuple[Task, ...]],
    best: Trial,
    trials: Sequence[Trial],
    budget: float,
) -> Tuned:
    if not math.isfinite(best.score):
        raise UserError(f"{directory}: all whole runs diverged, or have no score on validation")
    given = max((t for t in trials if t.settings == 0), key=lambda trial: trial.share)
    config, tasks = settings
    spent = sum(trial.seconds for trial in trials)
    about = (
        f"# Found by mtljax tune: score {best.score:.4f} on validation, {len(trials)} runs in "
        f"{spent:.0f} s of {budget:.0f} s.\n"
    )
    replace_text(directory / "tasks.yaml", dump_tasks(tasks))
    replace_text(directory / "best.yaml", about + dump_config(config))
    return Tuned(config, tasks, best, given, tuple(trials), spent)


def _check(config: Config, most: int) -> None:
    if config.optimizer.solver != "adamw":
        raise UserError(
            f"optimizer.solver {config.optimizer.solver!r}: makes no steps; it tries its own "
            "penalties"
        )
    if not (config.steps or config.epochs):
        raise UserError("steps: a search needs some")
    if not 2 <= most <= _MOST:
        raise UserError(f"settings: must be between 2 and {_MOST:,}, got {most}")


def _done_before(directory: Path, asked: Mapping[str, Any]) -> dict[str, Trial]:
    """The runs that a search has done before it was interrupted, by name.

    Raises:
      UserError: for a directory that cannot be used, or has another search.
    """
    try:
        if not (directory / _NOTES).is_file():
            if run_directory.holds_run(directory):
                raise UserError(f"search directory {directory}: holds a run")
            return {}
        notes = json.loads((directory / _NOTES).read_text(encoding="utf-8"))
        before, trials = notes["asked"], [Trial(*values) for values in notes["trials"]]
        other = [name for name in asked if before[name] != asked[name]]
    except OSError as error:
        raise UserError(f"search directory {directory}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"search directory {directory}: {_NOTES} is damaged") from None
    if other:
        raise UserError(
            f"search directory {directory}: holds a search of {' and '.join(other)}; choose "
            "another --search-dir"
        )
    return {trial.name: trial for trial in trials}


def _trial(name: str, number: int, share: float, planned: Config, done: Done) -> Trial:
    """A run that was done: its score, and what its time says of one with all its steps."""
    summary = done.summary
    if summary is None:
        return Trial(name, number, share, -math.inf, done.seconds, done.seconds)
    score = summary["score"]
    score = -math.inf if score is None or not math.isfinite(score) else float(score)
    account, steps = summary["account"], summary["steps"]
    all_steps = steps if planned.epochs else planned.steps
    stepping = account["productive"] * all_steps / max(steps, 1)
    return Trial(name, number, share, score, account["wall"] - account["stopped"], stepping)

"""Training a run, in steps or all at once."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from mtljax.local_paths import check_local
from mtljax.presets import NO_PROFILE, ConfigLike, ProfileWindow, read_automatic
from mtljax.tasks import TasksLike, parse_tasks
from mtljax.training.loop import train_in_steps
from mtljax.training.persistence.remote_run import run_to_write
from mtljax.training.reporting.metrics_writers import LogTo
from mtljax.training.reporting.time_account import time_account
from mtljax.training.solved import solve_run


def train(
    config: ConfigLike,
    tasks: TasksLike,
    run_dir: str | Path,
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    log_to: LogTo = (),
    console: Console | None = None,
    preempted: Callable[[int], bool] = lambda step: False,
    profile: ProfileWindow = NO_PROFILE,
    hang_seconds: float = 0.0,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Train tasks jointly, or continue a run that was interrupted.

    Called again with the same arguments it ends with the parameters and metrics that an
    uninterrupted run has (on the same kind and number of devices); a finished run is left as it is.
    With more steps or epochs a run continues to these, finished or not. One process at a time
    trains in a directory.

    Where `jax.distributed` has joined several processes, all call this with the same arguments and
    a directory that they share; the first of them writes.

    Args:
      config: the configuration of the run; or what `mtljax.presets.read_config` reads: the name of
        a preset, a dictionary such as ``{"preset": "linear", "steps": 100}``, YAML or a path.
      tasks: what to learn, in the order of the losses; or what `mtljax.tasks.parse_tasks` reads: a
        dictionary, YAML or the path of a tasks file.
      run_dir: directory of the run, made if need be; of another scheme, such as ``gs://bucket/run``,
        one process trains in a copy here, which is copied there after each checkpoint.
      data_dir: directory of data sets in TFDS format; of another scheme, what is read is copied.
      cache_dir: directory where tokenised data is kept for later runs; None for nowhere.
      log_to: where metrics go besides `metrics.jsonl`: 'tensorboard', 'wandb', 'mlflow', or
        functions that make a `mtljax.training.MetricsWriter` of a `mtljax.training.LoggedRun`.
      console: where progress is shown; None for the output of a notebook's cell, elsewhere for
        nowhere.
      preempted: called after every step with its number; True has the run save and stop. All
        processes must get the same answer at the same step.
      profile: steps that are traced by the profiler, into the directory `profile` of the run.
      hang_seconds: when a step takes longer, where all threads are is printed on stderr; 0 for
        never.
      notes: lines that are shown before those on the run.

    Returns:
      The content of `summary.json`.

    Raises:
      NotConverged: the solver that `optimizer.solver` names stopped before the optimum.
      UserError: for a configuration, task, data set or directory that cannot be used, and when a
        loss is no longer finite.
      Preempted: after `preempted` returned True, when the state is saved.
    """
    check_local("token cache", cache_dir)
    tasks = parse_tasks(tasks, Path.cwd())
    config, tasks, chosen = read_automatic(config, tasks, data_dir)
    make = train_in_steps if config.optimizer.solver == "adamw" else solve_run
    with run_to_write(run_dir) as directory, time_account() as account:
        return make(
            config,
            tasks,
            directory,
            data_dir=data_dir,
            cache_dir=cache_dir,
            log_to=log_to,
            console=console,
            preempted=preempted,
            account=account,
            profile=profile,
            hang_seconds=hang_seconds,
            notes=(*notes, *chosen),
        )

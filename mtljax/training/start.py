"""How a run starts: what its directory holds, and whether that is what is asked for."""

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mtljax.data import MultitaskData, load_data, train_tokenizer
from mtljax.errors import UserError
from mtljax.presets import Config, check, flatten
from mtljax.step.method import Method
from mtljax.tasks import Task, dump_tasks
from mtljax.training.check_memory import check_memory
from mtljax.training.method import make_method
from mtljax.training.model import data_options
from mtljax.training.multihost import is_writer
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.open_files import allow_open_files
from mtljax.training.persistence.run_digests import keep_digests
from mtljax.training.persistence.run_lock import locked
from mtljax.training.reporting.data_overview import total_steps
from mtljax.training.reporting.metrics_writers import LogTo, check_writers
from mtljax.training.starting_point import Given, tokenizer_of
from mtljax.training.stopping import goes_on

Say = Callable[[str], None]
"""Shows one line to the user."""


class Start(NamedTuple):
    """What the configuration and the run directory say before any data is read.

    Attributes:
      directory: of the run.
      method: of the configuration that is asked for.
      saved: the configuration of the run that the directory holds, None where it holds none.
      summary: of that run, if it is complete.
    """

    directory: Path
    method: Method
    saved: Config | None = None
    summary: dict[str, Any] | None = None


def look(
    config: Config,
    tasks: Sequence[Task],
    directory: Path,
    log_to: LogTo,
    lock: contextlib.ExitStack,
    say: Say,
) -> Start:
    """Check a configuration, and whether it is that of the run that is there already.

    Args:
      config: that is asked for.
      tasks: that are asked for.
      directory: of the run; it need not exist.
      log_to: where metrics go besides `metrics.jsonl`, see `mtljax.training.LogTo`.
      lock: holds the lock of a run that is there, from here on.
      say: is called with one line where there are no locks, or the summary is damaged.

    Raises:
      UserError: for a configuration that cannot be used, for a run of another one, and while
        another process writes there.
    """
    check(config)
    check_memory(config, len(tasks))
    allow_open_files()
    method = make_method(config, len(tasks))
    check_writers(log_to)
    if not run_directory.holds_run(directory):
        return Start(directory, method)
    if is_writer():
        lock.enter_context(locked(directory, say))
    saved = run_directory.check_same_run(directory, config, tasks)
    return Start(directory, method, saved, run_directory.read_summary(directory, say))


def load(
    config: Config,
    tasks: tuple[Task, ...],
    start: Start,
    origin: run_directory.RunFiles | Given | None,
    data_dir: str | Path | None,
    cache_dir: str | Path | None,
    say: Say,
) -> MultitaskData:
    """Read the data of a run, with the tokenizer that it has or starts from.

    Args:
      config: of the run.
      tasks: of the run.
      start: from `look`.
      origin: what the run starts from.
      data_dir: directory of data sets in TFDS format.
      cache_dir: directory of tokenised data.
      say: is called with one line for each file of the cache that cannot be used.

    Raises:
      UserError: for a data set, feature, label or rate that cannot be used.
    """
    tokenizer, begun = tokenizer_of(origin, config), None
    if isinstance(origin, Given):
        if origin.data is not None and start.saved is None:
            return origin.data
        begun = origin.outputs
    if start.saved is not None:
        run = run_directory.read_run(start.directory)
        tokenizer, begun = run.tokenizer, run.layout.outputs
    return load_data(
        tasks,
        data_options(config, tasks),
        data_dir=data_dir,
        tokenizer=tokenizer,
        cache_dir=cache_dir,
        say=say,
        begun=begun,
    )


def arguments(config: Config, tasks: tuple[Task, ...], start: Start) -> dict[str, str]:
    """What all processes must have been started with, written out by name."""
    settings = {name: repr(value) for name, value in flatten(config).items()}
    state = repr((start.saved, start.summary))
    return settings | {"tasks file": dump_tasks(tasks), "state of the run directory": state}


def content(data: MultitaskData) -> dict[str, str]:
    """What all processes must have read, written out by name."""
    layout = json.dumps([data.layout.to_json(), data.stages])
    sources = {f"content of {name!r}": str(digest) for name, digest in data.fingerprints.items()}
    return {
        "layout of the data": layout,
        "tokenizer": json.dumps(data.tokenizer.to_json()),
    } | sources


def check_continued(config: Config, start: Start, data: MultitaskData) -> dict[str, Any] | None:
    """Check that a run that is there already can continue with this data, to as many steps.

    Args:
      config: that is asked for.
      start: from `look`.
      data: as it was read now.

    Returns:
      The summary of the run, if it is complete; None if steps are to be done.

    Raises:
      UserError: if the data is not that of the run, or the run has more steps.
    """
    if start.saved is None:
        return None
    run_directory.check_same_data(start.directory, data)
    settings = config.tokenizer
    if (
        settings.kind == "file"
        and Path(settings.file).is_file()  # it need not be there any more
        and train_tokenizer((), settings).fingerprint != data.tokenizer.fingerprint
    ):
        raise UserError(
            f"run directory {start.directory}: tokenizer file {settings.file} is another than when "
            "the run was begun; choose another --run-dir"
        )
    before, steps = total_steps(start.saved, data), total_steps(config, data)
    if steps < before:
        raise UserError(
            f"run directory {start.directory}: holds a run of {before} steps, more than the "
            f"{steps} asked for; choose another --run-dir"
        )
    summary = start.summary
    if summary is not None and goes_on(start.saved.stopping, config.stopping, summary):
        return None
    return summary if steps == before else None


def begin(
    config: Config,
    tasks: Sequence[Task],
    start: Start,
    data: MultitaskData,
    lock: contextlib.ExitStack,
    say: Say,
) -> None:
    """Write the files that define a run, or those that change when it continues to more steps.

    Args:
      config: of the run.
      tasks: of the run.
      start: from `look`.
      data: of the run.
      lock: holds the lock of the directory from here on, if it does not yet.
      say: is called with one line where a run continues to more steps, or there are no locks.

    Raises:
      UserError: if they cannot be written, or another process writes there.
    """
    if not is_writer():
        return
    directory = start.directory
    run_directory.make_directory(directory)
    if start.saved is None:
        lock.enter_context(locked(directory, say))
        if run_directory.holds_run(directory):
            raise UserError(
                f"run directory {directory}: another process has begun a run there meanwhile; the "
                "same command continues it"
            )
        run_directory.write_run(directory, config, tasks, data)
        return
    keep_digests(directory, run_directory.FILES)
    before, steps = total_steps(start.saved, data), total_steps(config, data)
    done = before if start.summary is None else start.summary["steps"]
    if steps == before and start.saved.stopping != config.stopping:
        run_directory.extend_run(directory, start.saved, config, done)
        if start.summary is not None:
            say(f"a run that stopped after {done} of {steps} steps continues")
    if steps > before:
        run_directory.extend_run(directory, start.saved, config, done)
        follows = ["the learning rate"] if config.optimizer.schedule != "constant" else []
        follows += ["the rates of the mixture"] if len(data.stages) > 1 else []
        how = f", {' and '.join(follows)} from here on as in one of {steps}" if follows else ""
        say(f"a run of {before} steps continues to {steps}{how}")

"""The training loop, from tasks to a finished run directory."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from mtljax.data import MultitaskData
from mtljax.errors import Preempted
from mtljax.presets import NO_PROFILE, Config, ConfigLike, ProfileWindow, check_window, read_config
from mtljax.pretrained.word_vectors import WordVectors
from mtljax.step.state import StepMetrics, TrainState, evaluated_params
from mtljax.tasks import TasksLike, parse_tasks
from mtljax.training import stopping
from mtljax.training.composed import Composed, compose
from mtljax.training.measured_steps import step_of
from mtljax.training.multihost import check_same, is_writer, on_all_processes
from mtljax.training.objective import heads_correlation
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.checkpoints import UNMEASURED
from mtljax.training.pretrained_start import (
    check_pretrained,
    resolved,
    start_from_pretrained,
)
from mtljax.training.reporting.data_notes import data_notes
from mtljax.training.reporting.data_overview import describe
from mtljax.training.reporting.metrics_writers import LogTo
from mtljax.training.reporting.progress import notebook_console, notes_on
from mtljax.training.reporting.summary import summarize
from mtljax.training.reporting.time_account import TimeAccount, time_account
from mtljax.training.session import Log, Session, open_log, open_session
from mtljax.training.start import Say, arguments, begin, check_continued, content, load, look
from mtljax.training.starting_point import (
    Given,
    StartingPoint,
    origin_of,
    read_as_there,
    record_start,
    started,
    starting_point,
)
from mtljax.training.stopping import Best
from mtljax.training.task_stopping import (
    NO_STOPS,
    TaskStops,
    held_parameters,
    stops_from_json,
    stops_to_json,
    with_held,
    without_targets,
)
from mtljax.training.validated import checkpoint, diverged, evaluate, saved
from mtljax.training.word_vectors import start_from_vectors, vectors_of


def train_in_steps(
    config: ConfigLike,
    tasks: TasksLike,
    run_dir: str | Path,
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    log_to: LogTo = (),
    console: Console | None = None,
    preempted: Callable[[int], bool] = lambda step: False,
    given: Given | None = None,
    account: TimeAccount | None = None,
    profile: ProfileWindow = NO_PROFILE,
    hang_seconds: float = 0.0,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Train tasks jointly in steps, or continue a run that was interrupted: `mtljax.train`.

    Args:
      config: as of `mtljax.train`, as are all but two; its solver is not asked.
      tasks: what to learn.
      run_dir: directory of the run.
      data_dir: directory of data sets in TFDS format.
      cache_dir: directory where tokenised data is kept.
      log_to: where metrics go besides `metrics.jsonl`, see `mtljax.training.LogTo`.
      console: where progress is shown.
      preempted: called after every step with its number; True has the run save and stop.
      given: parameters to start from in place of those that are drawn, with their tokenizer.
      account: of the time, if it began before.
      profile: steps that are traced.
      hang_seconds: after so many a step has its stack traces printed; 0 for never.
      notes: lines that are shown before those on the run.

    Returns:
      The content of `summary.json`.

    Raises:
      UserError: as `mtljax.train`.
      Preempted: after `preempted` returned True, when the state is saved.
    """
    config, tasks = resolved(read_config(config), Path(run_dir)), parse_tasks(tasks, Path.cwd())
    config = read_as_there(config, tasks, Path(run_dir))
    console = console or notebook_console()
    console = console if console and is_writer() else Console(quiet=True)
    directory = Path(run_dir)
    say = notes_on(console)

    # The writer holds the lock of the directory from here to the end.
    with contextlib.ExitStack() as lock:
        account = account or lock.enter_context(time_account())
        on_all_processes(lambda: check_window(profile, None if config.epochs else config.steps))
        # What one process alone finds wrong would leave the others waiting for it in the next
        # collective operation: each phase is done by all, and fails in all or in none.
        start = on_all_processes(lambda: look(config, tasks, directory, log_to, lock, say))
        check_same(lambda: arguments(config, tasks, start))

        origin = given or on_all_processes(lambda: origin_of(config, directory))
        began = time.monotonic()
        with account.spent("data"):
            data = on_all_processes(
                lambda: load(config, tasks, start, origin, data_dir, cache_dir, say)
            )
        seconds = time.monotonic() - began
        check_same(lambda: content(data))
        done = on_all_processes(lambda: check_continued(config, start, data))
        if done is not None:
            say(f"{directory}: complete, nothing to do")
            return done

        for line in _unset_flags(config):
            say(line)
        composed = on_all_processes(lambda: compose(config, data, start.method))
        on_all_processes(lambda: check_window(profile, composed.steps))
        first = on_all_processes(lambda: starting_point(config, composed.model, data, origin, say))
        vectors = on_all_processes(lambda: vectors_of(config, data.tokenizer, directory))
        if start.saved is None:
            on_all_processes(lambda: check_pretrained(config))
        on_all_processes(lambda: begin(config, tasks, start, data, lock, say))
        if is_writer():
            account.open(directory)
            lock.callback(account.close)
        on_all_processes(lambda: run_directory.check_shared(directory))
        for line in (*notes, describe(config, data, composed.steps, seconds)):
            say(line)
        _announce(composed, data, say)

        with open_session(
            config,
            composed,
            data,
            directory,
            console=console,
            log_to=log_to,
            preempted=preempted,
            account=account,
        ) as session:
            restored = _restore(session, first, vectors)
            account.go_on_from(restored.last_line)
            with (
                open_log(session, restored.step, restored.last_line, profile, hang_seconds) as log,
                account.spent("productive"),
            ):
                ended = _loop(session, log, restored)
            session.batches.close()  # its processes and device memory, before the last evaluation
            return _finish(session, log, ended)


def _announce(composed: Composed, data: MultitaskData, say: Say) -> None:
    devices = composed.devices
    for line in filter(None, (composed.sharing, devices.about, devices.passes)):
        say(line)
    for note in data_notes(data):
        say(note)


def _unset_flags(config: Config) -> list[str]:
    """A line where flags of XLA are not in the environment, which it has read when JAX started."""
    there = f"{os.environ.get('XLA_FLAGS', '')} {os.environ.get('LIBTPU_INIT_ARGS', '')}".split()
    unset = [flag for flag in config.parallel.xla_flags if f"--{flag}" not in there]
    what = ", ".join(unset)
    return [f"parallel.xla_flags: not in the environment, not used: {what}"] if unset else []


class _Restored(NamedTuple):
    """Where a run starts: after step 0, or after the step of its newest checkpoint."""

    step: int
    state: TrainState
    last_line: int
    best: Best | None = None
    stops: TaskStops = NO_STOPS


class _Ended(NamedTuple):
    """Where a run ends: after its last step, or before, and why."""

    step: int
    state: TrainState
    why: str = ""
    stops: TaskStops = NO_STOPS


def _restore(
    session: Session, first: StartingPoint | None, vectors: WordVectors | None
) -> _Restored:
    # The first batch gives the shapes from which parameters are drawn. A checkpoint needs that
    # state too, for its tree and shardings; the batch is then read again, by the first step.
    with session.account.spent("data"):
        batch = next(session.batches).batch
    state = session.devices.init(batch)
    session.resume({"next_index": 0})
    with session.account.spent("checkpoint"):
        found = session.checkpoints.latest(state)
    if found is None:
        say = notes_on(session.console)
        config, layout = session.config, session.data.layout
        state = on_all_processes(lambda: start_from_pretrained(config, layout, state, say))
        state = start_from_vectors(config, vectors, state, say)
        state = started(state, first)
        record_start(session.directory, config, state, first)
        return _Restored(0, state, last_line=-1)
    step, state, progress = found
    session.resume(progress["position"])
    notes_on(session.console)(f"continuing from step {step}")
    best, stops = stopping.from_json(progress.get("best")), stops_from_json(progress.get("stops"))
    return _Restored(step, state, step, best, stops)


def _loop(session: Session, log: Log, start: _Restored) -> _Ended:
    """Do the steps after those that are done, and return the last state.

    The devices always have a step to do while the host works: a step is dispatched before the
    metrics of the one before are read, which is where the host waits for the devices. `unread`
    holds those metrics.
    """
    config, steps, window = session.config, session.steps, log.window
    done, state, best, stops = start.step, start.state, start.best, start.stops
    held = held_parameters(state, stops)
    if steps == 0 and session.checkpoints.latest_step() is None:
        checkpoint(session, log, 0, state, None, stops)  # as drawn, for the final evaluation
    if done < steps and session.preempted(done):
        raise Preempted(saved(session.checkpoints))

    unread: StepMetrics | None = None
    if done < steps and (why := _why_stopped(session, best, stops, done)):
        return _Ended(done, state, why, stops)
    for number in range(done + 1, steps + 1):
        # Dispatch the step. Its batch lies on the devices already, but for the first. The call
        # returns before the devices are done, and the old state is donated: its memory is reused.
        session.account.step = number
        log.hanging.begin()
        with window.waiting():
            inputs = next(session.batches)
        step = step_of(session.devices, config, number)
        window.dispatch(inputs, step)
        batch = without_targets(inputs.batch, stops)
        with log.trace.step(number):
            state, metrics = step(state, batch, session.extra(number, batch, inputs.extra))
        state = with_held(state, held)

        # Refill while the devices are busy. Not after the metrics are read: by then the step
        # before is over, and less of this one is left to hide the copies behind.
        with window.waiting():
            session.batches.refill()

        # Read the metrics of the step before. What is not finite stops the run here, one step
        # late, but before a checkpoint.
        if unread is not None:
            _read(session, log, number - 1, unread)
        window.count(inputs)
        unread = metrics

        # At a checkpoint the metrics of this step are read too: it is saved only if it is finite,
        # and with all its metrics on disk, so that a run that continues from here has the lines of
        # an uninterrupted one. No step is dispatched until the evaluation is over and the state is
        # copied; the files are written while the next steps are done.
        saves = number % config.evaluate_every == 0 or number == steps
        if saves or log.trace.ends(number):
            _read(session, log, number, unread, write=True)
            unread = None
            log.hanging.end()
        if log.trace.ends(number):
            with window.pause(), session.account.spent("other"):
                log.reporter.say(f"traced: {log.trace.stop()}")
        if saves:
            with window.pause():
                best, stops = checkpoint(session, log, number, state, best, stops)
                held = held_parameters(state, stops, held)
            if number < steps and (why := _why_stopped(session, best, stops, number)):
                log.reporter.say(f"stopped after step {number}: {why}")
                return _Ended(number, state, why, stops)

        # Preempted. Where this step has no checkpoint yet, it is saved without an evaluation,
        # for which there may be no time. After the last step the run ends as usual.
        if number < steps and session.preempted(number):
            if not saves:
                if unread is not None:
                    _read(session, log, number, unread, write=True)
                position = session.position()
                as_json = stopping.to_json(best), stops_to_json(stops)
                with session.account.spent("checkpoint"):
                    session.checkpoints.save(number, state, position, {}, UNMEASURED, *as_json)
            with session.account.spent("checkpoint"):
                session.checkpoints.wait()
            raise Preempted(saved(session.checkpoints))
    return _Ended(steps, state, stops=stops)


def _why_stopped(session: Session, best: Best | None, stops: TaskStops, step: int) -> str:
    config = session.config
    if len(stops.stopped) == len(session.model.tasks):
        return "all tasks have stopped"
    return stopping.why_stopped(config.stopping, best, step, config.evaluate_every)


def _read(
    session: Session, log: Log, number: int, metrics: StepMetrics, *, write: bool = False
) -> None:
    """Wait for the metrics of a step; write a line of means where one is due, or in any case."""
    bad = log.window.add(metrics)
    if bad is not None:
        raise diverged(number, bad, session.checkpoints)
    for line in log.window.left_out():
        log.reporter.say(f"step {number}: {line}")
    session.learn(number, metrics)
    if write or number % session.config.log_every == 0:
        values = log.window.flush(number)
        passes = session.passes(number)
        values |= {f"epoch/{task}": round(count, 4) for task, count in passes.items()}
        values |= session.learned()
        values |= session.account.logged()
        log.write(number, "train", values)
        log.reporter.step(number, values | {"seconds_left": log.window.seconds_left(number)})


def _finish(session: Session, log: Log, ended: _Ended) -> dict[str, Any]:
    """Evaluate the best checkpoint on the test split, and write the summary."""
    with session.account.spent("checkpoint"):
        session.checkpoints.wait()
        best = session.checkpoints.best(ended.state)
    assert best is not None
    step, state, progress = best
    test = evaluate(session, state, "test", full=True)
    validation = progress["values"]
    summary = summarize(session, log.window, ended.step, ended.why, step, validation, test)
    if session.config.regularizer.heads_relation:
        params, everywhere = evaluated_params(state), session.devices.replicated
        summary["relation"] = heads_correlation(session.model, params, everywhere)
    if ended.stops.stopped:
        summary["stopped_tasks"] = dict(ended.stops.stopped)
    if is_writer():
        run_directory.write_summary(session.directory, summary)
    return summary

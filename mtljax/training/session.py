"""What a training run holds open from its start to its end, and how it is opened and closed."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console

from mtljax.data import MultitaskData
from mtljax.data.batching.group_schedule import GroupSchedule
from mtljax.errors import Preempted
from mtljax.presets import Config, ProfileWindow
from mtljax.step.extra import Extra
from mtljax.step.state import StepMetrics
from mtljax.training.composed import Composed
from mtljax.training.distributed import Distributed
from mtljax.training.evaluation import Evaluator, Values
from mtljax.training.inputs.aligned_streams import AlignedStreams
from mtljax.training.inputs.device_prefetch import DevicePrefetch
from mtljax.training.learned_rates import LearnedRates, is_learned
from mtljax.training.model import Model
from mtljax.training.multihost import CollectiveError, is_writer
from mtljax.training.optimizer import learning_rate_schedule
from mtljax.training.persistence.checkpoints import Checkpoints, quiet
from mtljax.training.persistence.run_directory import CHECKPOINTS
from mtljax.training.reporting.hanging_step import HangingStep
from mtljax.training.reporting.metrics_file import MetricsFile
from mtljax.training.reporting.metrics_window import MetricsWindow
from mtljax.training.reporting.metrics_writers import (
    LoggedRun,
    LogTo,
    MetricsWriter,
    make_writers,
    write_to_all,
)
from mtljax.training.reporting.progress import Reporter, make_reporter, notes_on
from mtljax.training.reporting.step_trace import StepTrace
from mtljax.training.reporting.time_account import TimeAccount


@dataclasses.dataclass(frozen=True)
class Session:
    """What a run holds from its start to its end; the train state, which steps change, is apart.

    Attributes:
      config: the configuration.
      directory: the run directory.
      data: the encoded data of all tasks.
      model: the network with what its tasks need.
      devices: the mesh, and the compiled functions that draw the first state and do a step.
      steps: optimization steps of the whole run.
      batches: the batches of the steps, some of them on the devices ahead of time.
      evaluator: measures parameters on a split.
      checkpoints: of the run directory.
      console: where progress is shown; quiet in all processes but the first.
      log_to: where metrics go besides `metrics.jsonl`, see `mtljax.training.LogTo`.
      rates: what learns the rates of the mixture; None where they are given.
      account: of the time.
      passes: from a number of steps to the passes over each task's training split in the first of
        them.
      preempted: called after every step with its number; True has the run save and stop.
    """

    config: Config
    directory: Path
    data: MultitaskData
    model: Model
    devices: Distributed
    steps: int
    batches: DevicePrefetch
    evaluator: Evaluator
    checkpoints: Checkpoints
    console: Console
    log_to: LogTo
    passes: Callable[[int], dict[str, float]]
    preempted: Callable[[int], bool]
    account: TimeAccount
    rates: LearnedRates | None = None

    def extra(self, number: int, batch: Mapping[str, Any], extra: Extra) -> Extra:
        """The extra batches of a step, with what learned rates need of it.

        Args:
          number: of the step, from 1 on.
          batch: the training batch, on the devices.
          extra: that the method reads.
        """
        half = None if self.rates is None else self.rates.half(number, batch)
        return extra if half is None else extra._replace(half=half)

    def learn(self, number: int, metrics: StepMetrics) -> None:
        """Learn rates from the metrics of a step, which have been read."""
        if self.rates is not None:
            self.rates.read(number, metrics)

    def learn_from_validation(self, number: int, values: Values) -> None:
        """Learn rates from an evaluation on validation after a step."""
        if self.rates is not None:
            self.rates.evaluated(number, values)

    def learned(self) -> dict[str, float]:
        """The newest rates as ``rate/TASK``; nothing where they are given."""
        return {} if self.rates is None else self.rates.logged()

    def position(self) -> dict[str, Any]:
        """The position in the data, with what learned rates come from, as JSON."""
        position = self.batches.get_state()
        if self.rates is None:
            return position
        return position | {"rates": self.rates.to_json(position["next_index"])}

    def resume(self, position: Mapping[str, Any]) -> None:
        """Go to a position that `position` returned."""
        self.batches.set_state({"next_index": position["next_index"]})
        if self.rates is not None and "rates" in position:
            self.rates.resume(position["rates"])


@contextlib.contextmanager
def open_session(
    config: Config,
    composed: Composed,
    data: MultitaskData,
    directory: Path,
    *,
    console: Console,
    log_to: LogTo,
    preempted: Callable[[int], bool],
    account: TimeAccount,
) -> Iterator[Session]:
    """Open the checkpoints and the batches of a run, at its first step; close them at the end.

    Raises:
      UserError: if checkpoints cannot be read or written, or the method reads validation data and a
        task has none.
    """
    devices = composed.devices
    rates = LearnedRates(config, data) if is_learned(config) else None
    schedule = rates.groups if rates else data.schedule(composed.steps, config.seed)
    with (
        quiet(),
        _open_checkpoints(directory, console, _kept_of(config, composed)) as checkpoints,
        contextlib.closing(_open_batches(config, composed, data, schedule)) as batches,
    ):
        yield Session(
            config=config,
            directory=directory,
            data=data,
            model=composed.model,
            devices=devices,
            steps=composed.steps,
            batches=batches,
            evaluator=Evaluator(devices.model, data, devices.place, devices.replicated),
            checkpoints=checkpoints,
            console=console,
            log_to=log_to,
            passes=functools.partial(data.epochs, schedule),
            preempted=preempted,
            account=account,
            rates=rates,
        )


@contextlib.contextmanager
def _open_checkpoints(
    directory: Path, console: Console, each: Sequence[str]
) -> Iterator[Checkpoints]:
    checkpoints = Checkpoints(directory / CHECKPOINTS, notes_on(console), each)
    try:
        yield checkpoints
    except BaseException as error:
        # To close is to wait for what is still being written, by all processes. After an error of
        # this process alone the others do not close, and the wait would have no end.
        if jax.process_count() == 1 or isinstance(error, CollectiveError | Preempted):
            checkpoints.close()
        raise
    checkpoints.close()


def _kept_of(config: Config, composed: Composed) -> list[str]:
    """The tasks of which the best checkpoint is kept too."""
    return [task.name for task in composed.model.tasks] if config.stopping.keep_each else []


def _open_batches(
    config: Config, composed: Composed, data: MultitaskData, schedule: GroupSchedule
) -> DevicePrefetch:
    share = composed.devices.share
    streams = AlignedStreams(data, config, composed.method.requires, schedule, share)
    return DevicePrefetch(
        streams, place=composed.devices.place_own, share=len(share.blocks) / share.count
    )


class Log(NamedTuple):
    """Where the metrics of a run go.

    Attributes:
      metrics_file: `metrics.jsonl`, for good.
      writers: that get its lines too.
      reporter: the terminal, for the moment.
      window: the sums since the last line of metrics, and the times of the whole run.
      trace: of some steps, by the profiler.
      hanging: what prints where a step hangs.
    """

    metrics_file: MetricsFile
    writers: list[MetricsWriter]
    reporter: Reporter
    window: MetricsWindow
    trace: StepTrace
    hanging: HangingStep

    def write(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """Write the numbers of a line: after `step` steps, of 'train' or 'validation'."""
        self.metrics_file.write(step, split, values)
        write_to_all(self.writers, step, split, values, self.reporter.say)


@contextlib.contextmanager
def open_log(
    session: Session, done: int, last_line: int, profile: ProfileWindow, hang_seconds: float
) -> Iterator[Log]:
    """Open the log of a run, and close it at the end.

    Args:
      session: of the run.
      done: steps done before this part of the run.
      last_line: the step after which lines of `metrics.jsonl`, of a run that was interrupted, are
        dropped; -1 drops all.
      profile: the steps that are traced.
      hang_seconds: after so many a step has its stack traces printed; 0 for never.

    Raises:
      UserError: if `metrics.jsonl` cannot be written, or a writer cannot begin.
    """
    config, steps, account = session.config, session.steps, session.account
    metrics_file = MetricsFile(
        session.directory,
        last_line,
        writes=is_writer(),
        warn=functools.partial(session.console.print, highlight=False),
    )
    run = LoggedRun(session.directory, config, session.model.tasks, last_line)
    writers = make_writers(session.log_to, run) if is_writer() else []
    reporter = make_reporter(session.console, steps, done)
    trace = StepTrace(session.directory, profile, writes=is_writer())
    hanging = HangingStep(hang_seconds)
    if 0 < profile.start <= done:
        reporter.say(f"profile: step {profile.start} is done already, nothing is traced")
    schedule = learning_rate_schedule(config.optimizer, steps)
    try:
        # Last, since it starts the clock.
        window = MetricsWindow(session.model, schedule, config, done, steps, account)
        yield Log(metrics_file, writers, reporter, window, trace, hanging)
    finally:
        hanging.end()
        trace.stop()
        reporter.close()
        metrics_file.close()
        for writer in writers:
            writer.close()

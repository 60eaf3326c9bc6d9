"""Training metrics and throughput between two log lines."""

import contextlib
import time
from collections.abc import Hashable, Iterator
from typing import Any

import jax
import numpy as np
import optax

from mtljax.presets import Config
from mtljax.step.state import StepMetrics
from mtljax.training.inputs.device_prefetch import PrefetchedBatch
from mtljax.training.model import Model
from mtljax.training.reporting.gradient_stats import GradientStats
from mtljax.training.reporting.time_account import TimeAccount


class MetricsWindow:
    """Sums of the training metrics since the last log line, and times of the whole run.

    A step is timed from the end of the one before to its own end, which is when its metrics can be
    read. For each step, in this order: `waiting` around the wait for its batch; `dispatch`, before
    it is dispatched; `add` with the metrics of the step before; `count` with its own batch.

    Attributes:
      tokens: real tokens in all steps timed.
      positions: positions in all steps timed, padding included.
      seconds: time of all steps timed, in seconds: without compilation, evaluation and checkpoints.
      waited: of these, seconds spent waiting for data: of the waits for batches in a step, during
        which the devices may do the step before, at most what it takes longer than the fastest one.
      compile_seconds: seconds of the steps that were compiled, the first among them.
    """

    def __init__(
        self,
        model: Model,
        schedule: optax.Schedule,
        config: Config,
        done: int,
        steps: int,
        account: TimeAccount | None = None,
    ) -> None:
        """Start the clock.

        Args:
          model: with the tasks, in the order of the losses.
          schedule: from a number of updates to the learning rate.
          config: of the run: `non_finite` and `optimizer.accumulate` are read.
          done: steps done before this part of the run.
          steps: steps of the whole run.
          account: has what is waited for data moved to that part.
        """
        self._account = account
        self._model, self._schedule, self._config = model, schedule, config
        self._steps = steps
        self.tokens = self.positions = 0
        self.seconds = self.waited = self.compile_seconds = 0.0
        # Steps that are compiled, with the rows of the batches.
        self._compiled: set[tuple[Hashable, tuple[int, ...]]] = set()
        self._compiling = True
        self._running: PrefetchedBatch | None = None  # of the step that is under way
        self._blocked = 0.0  # seconds of waits for batches since the end of the step before
        self._fastest: dict[tuple[int, ...], float] = {}  # seconds of a step, by its rows
        self._timed_steps = 0
        self._left_out: dict[str, str] = {}  # what was first, by why; empty where it is told
        self._last_time = time.perf_counter()
        self._clear()

    def _clear(self) -> None:
        count = len(self._model.tasks)
        self._losses, self._weights, self._present = (np.zeros(count) for _ in range(3))
        self._not_finite, self._spikes = np.zeros(count), np.zeros(count)
        self._skipped = 0
        self._weighted_steps = self._updates = 0
        self._penalty = self._norm = 0.0
        self._gradient_stats = GradientStats([task.name for task in self._model.tasks])
        self._window_tokens = 0
        self._window_seconds = 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Measure a wait for data; the time is part of `seconds` too."""
        before = time.perf_counter()
        yield
        self._blocked += time.perf_counter() - before

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Leave out what is done inside, such as an evaluation."""
        self._advance()
        yield
        self._last_time = time.perf_counter()

    def dispatch(self, batch: PrefetchedBatch, step: Hashable = None) -> None:
        """Note that a step is dispatched next, compiled first if it or its shapes are new."""
        program = step, batch.rows
        self._compiling |= program not in self._compiled
        self._compiled.add(program)

    def count(self, batch: PrefetchedBatch) -> None:
        """Count the tokens of a dispatched step when it ends; after `add` of the one before."""
        self._running = batch

    def _advance(self) -> None:
        # While a step was compiled others may have run: neither their time nor their tokens are
        # counted, for they cannot be told apart.
        now = time.perf_counter()
        took = now - self._last_time
        if self._compiling:
            self.compile_seconds += took
        else:
            self.seconds += took
            self._window_seconds += took
            if self._running is not None:
                self._count_wait(self._running.rows, took)
                self.tokens += self._running.tokens
                self.positions += self._running.positions
                self._window_tokens += self._running.tokens
                self._timed_steps += 1
        self._last_time, self._running, self._blocked = now, None, 0.0

    def _count_wait(self, rows: tuple[int, ...], took: float) -> None:
        # Batches are fetched while the devices work: only what a step takes longer for it is lost.
        fastest = min(self._fastest.get(rows, took), took)
        self._fastest[rows] = fastest
        waited = min(self._blocked, took - fastest)
        self.waited += waited
        if self._account is not None:
            self._account.move(waited, "data")

    def add(self, metrics: StepMetrics) -> str | None:
        """Read the metrics of a step, which waits for it, and add them up.

        Args:
          metrics: of the step, on the device.

        Returns:
          None, or what is not finite, or a spike, where the run is to stop: the loss of a task,
          the penalty or the gradient.
        """
        values = jax.device_get(metrics)
        self._advance()
        self._compiling = False
        if self._config.non_finite == "stop" and (bad := self._what_is_not_finite(values)):
            return f"{bad} is not finite"
        if values.spiked is not None:
            if self._config.loss_spikes == "stop" and values.spiked.any():
                which = int(np.argmax(values.spiked))
                return f"{self._loss_of(which, values)} is a spike"
            self._spikes += values.spiked
        self._look_for_left_out(values)
        counted = values.present * (1 - values.not_finite)
        self._losses += np.where(counted > 0, values.losses, 0)
        self._present += counted
        self._not_finite += values.not_finite
        self._skipped += int(values.skipped)
        # A step that only accumulates has no weights yet.
        if values.weights is not None and not np.isnan(values.weights).any():
            self._weighted_steps += 1
            self._weights += values.weights
        if values.updated:
            self._penalty += float(values.penalty)
            self._norm += float(values.gradient_norm)
            self._updates += 1
        if values.gradients is not None:
            self._gradient_stats.add(values.gradients, counted)
        return None

    def left_out(self) -> list[str]:
        """What steps left out that is not told yet: the first for each reason."""
        lines = [line for line in self._left_out.values() if line]
        self._left_out = dict.fromkeys(self._left_out, "")
        return lines

    def _look_for_left_out(self, values: StepMetrics) -> None:
        reasons = {}
        if bad := self._what_is_not_finite(values):
            reasons["not finite"] = bad
        if values.spiked is not None and values.spiked.any():
            reasons["a spike"] = self._loss_of(int(np.argmax(values.spiked)), values)
        what = "the step" if values.skipped else "the task"
        for why, which in reasons.items():
            line = f"{which} is {why}, {what} is left out; metrics.jsonl counts those after it"
            self._left_out.setdefault(why, line)

    def _loss_of(self, place: int, values: StepMetrics) -> str:
        return f"the loss of task {self._model.tasks[place].name!r} ({values.losses[place]})"

    def _what_is_not_finite(self, values: StepMetrics) -> str | None:
        for place, loss in enumerate(values.losses):
            if not np.isfinite(loss):
                return self._loss_of(place, values)
        if values.updated and not np.isfinite(values.penalty):
            return f"the penalty ({values.penalty})"
        if values.not_finite.any() or (values.updated and not np.isfinite(values.gradient_norm)):
            blamed = np.where(values.not_finite > 0, np.inf, values.losses)
            worst = self._model.tasks[int(np.argmax(blamed))].name
            why = "of" if values.not_finite.any() else "largest loss:"
            return f"the gradient ({values.gradient_norm}; {why} task {worst!r})"
        return None

    def flush(self, step: int) -> dict[str, Any]:
        """Return the means since the last call, and start again from nothing.

        Args:
          step: steps done, for the learning rate of the last update.

        Returns:
          ``loss/TASK``, over the steps in which the task had a target (None if there was none);
          ``weight/TASK``, where there are weights; ``penalty`` and ``gradient_norm``; what
          `GradientStats.means` returns; with ``non_finite`` other than 'stop', ``not_finite/TASK``
          and ``skipped``, and with ``loss_spikes`` other than 'keep' ``spikes/TASK``, numbers of
          steps; ``learning_rate``; ``tokens_per_second``, of real tokens, 0 if no step was timed.
        """
        values: dict[str, Any] = {}
        for i, task in enumerate(self._model.tasks):
            seen = self._present[i]
            values[f"loss/{task.name}"] = self._losses[i] / seen if seen else None
        for i, task in enumerate(self._model.tasks):
            if self._weighted_steps:
                values[f"weight/{task.name}"] = self._weights[i] / self._weighted_steps
        values["penalty"] = self._penalty / self._updates if self._updates else None
        values["gradient_norm"] = self._norm / self._updates if self._updates else None
        values |= self._gradient_stats.means()
        if self._config.non_finite != "stop":
            for i, task in enumerate(self._model.tasks):
                values[f"not_finite/{task.name}"] = int(self._not_finite[i])
        if self._config.loss_spikes != "keep":
            for i, task in enumerate(self._model.tasks):
                values[f"spikes/{task.name}"] = int(self._spikes[i])
        if self._config.non_finite != "stop" or self._config.loss_spikes == "skip":
            values["skipped"] = self._skipped
        updates = max(0, step // self._config.optimizer.accumulate - 1)
        values["learning_rate"] = float(np.asarray(self._schedule(updates)))
        rate = self._window_tokens / self._window_seconds if self._window_seconds else 0.0
        values["tokens_per_second"] = round(rate, 1)
        self._clear()
        return values

    def seconds_left(self, step: int) -> float:
        """Estimate the seconds for the steps after this one, without evaluations; NaN at first."""
        if not self._timed_steps:
            return float("nan")
        return self.seconds / self._timed_steps * (self._steps - step)

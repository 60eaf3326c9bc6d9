"""Bookkeeping of the steps between two lines of metrics, and of where the time went."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import optax

from mtljax.presets import Config
from mtljax.training.inputs.device_prefetch import PrefetchedBatch
from mtljax.training.model import Model
from mtljax.training.reporting.gradient_stats import GradientStats
from mtljax.training.state import StepMetrics


class MetricsWindow:
    """Sums and counts since the last line, and totals of the run.

    Attributes:
      tokens: real tokens in all steps timed.
      positions: positions in all steps timed, padding included.
      seconds: time of all steps timed: without compilation, evaluation and checkpoints.
      waited: of these, seconds spent waiting for data.
      compile_seconds: time of the steps that were compiled, the first among them.
    """

    def __init__(
        self, model: Model, schedule: optax.Schedule, config: Config, done: int, steps: int
    ) -> None:
        """Begin after step ``done`` of ``steps``."""
        self._model, self._schedule, self._config = model, schedule, config
        self._steps = steps
        self.tokens = self.positions = 0
        self.seconds = self.waited = self.compile_seconds = 0.0
        # The sizes that there is a compiled step for, and whether one is being compiled.
        self._seen: set[tuple[int, ...]] = set()
        self._compiling = True
        self._running: PrefetchedBatch | None = None
        self._timed = 0
        self._mark = time.perf_counter()
        self._clear()

    def _clear(self) -> None:
        count = len(self._model.tasks)
        self._losses, self._weights, self._present = (np.zeros(count) for _ in range(3))
        self._not_finite = np.zeros(count)
        self._skipped = 0
        self._weighings = self._updates = 0
        self._penalty = self._norm = 0.0
        self._gradient_stats = GradientStats([task.name for task in self._model.tasks])
        self._window_tokens = 0
        self._window_seconds = 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Time spent inside is waiting for data."""
        before = time.perf_counter()
        yield
        if not self._compiling:
            self.waited += time.perf_counter() - before

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Time spent inside is not time of the steps."""
        self._advance()
        yield
        self._mark = time.perf_counter()

    def dispatch(self, fed: PrefetchedBatch) -> None:
        """Say that a step is about to be dispatched, compiled first if its sizes are new."""
        self._compiling |= fed.rows not in self._seen
        self._seen.add(fed.rows)

    def count(self, fed: PrefetchedBatch) -> None:
        """Count the tokens of a step that was dispatched, after `add` of the one before."""
        self._running = fed

    def _advance(self) -> None:
        # What went on while a step was compiled counts neither as time nor as tokens.
        now = time.perf_counter()
        if self._compiling:
            self.compile_seconds += now - self._mark
        else:
            self.seconds += now - self._mark
            self._window_seconds += now - self._mark
            if self._running is not None:
                self.tokens += self._running.tokens
                self.positions += self._running.positions
                self._window_tokens += self._running.tokens
                self._timed += 1
        self._mark, self._running = now, None

    def add(self, metrics: StepMetrics) -> str | None:
        """Read the metrics of a step; this waits for it.

        Returns:
          None, or what is not finite where the run is to stop: the loss of a task, the penalty or
          the gradient.
        """
        found = jax.device_get(metrics)
        self._advance()
        self._compiling = False
        if self._config.non_finite == "stop" and (bad := self._what_is_not_finite(found)):
            return bad
        counted = found.present * (1 - found.not_finite)
        self._losses += np.where(counted > 0, found.losses, 0)
        self._present += counted
        self._not_finite += found.not_finite
        self._skipped += int(found.skipped)
        # A step that only accumulates has no weights yet.
        if found.weights is not None and not np.isnan(found.weights).any():
            self._weighings += 1
            self._weights += found.weights
        if found.updated:
            self._penalty += float(found.penalty)
            self._norm += float(found.gradient_norm)
            self._updates += 1
        if found.gradients is not None:
            self._gradient_stats.add(found.gradients, counted)
        return None

    def _what_is_not_finite(self, found: StepMetrics) -> str | None:
        for task, loss in zip(self._model.tasks, found.losses, strict=True):
            if not np.isfinite(loss):
                return f"the loss of task {task.name!r} ({loss})"
        if found.updated and not np.isfinite(found.penalty):
            return f"the penalty ({found.penalty})"
        if found.not_finite.any() or (found.updated and not np.isfinite(found.gradient_norm)):
            blamed = np.where(found.not_finite > 0, np.inf, found.losses)
            worst = self._model.tasks[int(np.argmax(blamed))].name
            why = "of" if found.not_finite.any() else "largest loss:"
            return f"the gradient ({found.gradient_norm}; {why} task {worst!r})"
        return None

    def flush(self, step: int) -> dict[str, Any]:
        """Return the means since the last call, as one flat object, and begin anew."""
        values: dict[str, Any] = {}
        for i, task in enumerate(self._model.tasks):
            seen = self._present[i]
            values[f"loss/{task.name}"] = self._losses[i] / seen if seen else None
        for i, task in enumerate(self._model.tasks):
            if self._weighings:
                values[f"weight/{task.name}"] = self._weights[i] / self._weighings
        values["penalty"] = self._penalty / self._updates if self._updates else None
        values["gradient_norm"] = self._norm / self._updates if self._updates else None
        values |= self._gradient_stats.means()
        if self._config.non_finite != "stop":
            for i, task in enumerate(self._model.tasks):
                values[f"not_finite/{task.name}"] = int(self._not_finite[i])
            values["skipped"] = self._skipped
        updates = max(0, step // self._config.optimizer.accumulate - 1)
        values["learning_rate"] = float(np.asarray(self._schedule(updates)))
        rate = self._window_tokens / self._window_seconds if self._window_seconds else 0.0
        values["tokens_per_second"] = round(rate, 1)
        self._clear()
        return values

    def seconds_left(self, step: int) -> float:
        """Estimate of the time for the steps that are left, evaluations not counted."""
        if not self._timed:
            return float("nan")
        return self.seconds / self._timed * (self._steps - step)

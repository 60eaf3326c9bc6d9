"""Progress of a run: a live bar on a terminal, plain lines elsewhere; and its results."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mtljax.errors import visible

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_PICTURES = 0.25
_SPLITS = ("validation", "test")

SHARES = (
    *("accuracy", "micro_f1", "macro_f1", "exact_match", "span_f1"),
    *("rouge_l", "distinct_1", "distinct_2", "repetition_4"),
)
"""Metrics that are shares, shown in percent."""


class Reporter(Protocol):
    """Shows the progress of a run."""

    def step(self, step: int, values: Mapping[str, Any]) -> None:
        """Show the metrics of the latest steps.

        Args:
          step: steps done.
          values: what `MetricsWindow.flush` returned, and ``seconds_left``.
        """
        ...

    def say(self, text: str) -> None:
        """Show one line that stays."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


def notes_on(console: Console) -> Callable[[str], None]:
    """Returns a function that prints a note, whose names and paths control no terminal."""

    def say(text: str) -> None:
        console.print(visible(text), highlight=False, markup=False)

    return say


class _Bar:
    """Steps and time left, and the latest values."""

    def __init__(self, console: Console, steps: int, done: int) -> None:
        self._progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
        )
        self._bar = self._progress.add_task("train", total=steps, completed=done, rate="compiling")
        self._values: Mapping[str, Any] = {}

    def move(self, step: int, values: Mapping[str, Any]) -> None:
        self._values = values
        rate = f"{values['tokens_per_second']:,.0f} tokens/s"
        self._progress.update(self._bar, completed=step, rate=rate)

    def table(self) -> Table:
        table = Table.grid()
        table.add_row(self._progress)
        if self._values:
            table.add_row(line_of(self._values))
        return table


class TerminalReporter:
    """A bar with steps and time left over a line of losses and weights, redrawn in place."""

    def __init__(self, console: Console, steps: int, done: int) -> None:
        """Begin to draw.

        Args:
          console: a terminal.
          steps: of the whole run.
          done: steps done already.
        """
        self._bar = _Bar(console, steps, done)
        self._live = Live(self, console=console, refresh_per_second=4, transient=False)
        self._live.start()

    def __rich__(self) -> Table:
        """The bar over the line."""
        return self._bar.table()

    def step(self, step: int, values: Mapping[str, Any]) -> None:
        """Move the bar."""
        self._bar.move(step, values)

    def say(self, text: str) -> None:
        """Print above the bar."""
        self._live.console.print(visible(text), highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Stop drawing."""
        self._live.stop()


class NotebookReporter:
    """The same bar and line in the output of a notebook's cell, where they replace each other."""

    def __init__(self, console: Console, steps: int, done: int) -> None:
        """Begin to draw.

        Args:
          console: of the notebook.
          steps: of the whole run.
          done: steps done already.
        """
        from IPython.display import display  # pyright: ignore[reportMissingImports]

        self._console, self._steps = console, steps
        self._bar = _Bar(console, steps, done)
        self._last_time = 0.0
        self._shown = display(self._bar.table(), display_id=True)

    def step(self, step: int, values: Mapping[str, Any]) -> None:
        """Move the bar, unless it has just moved; always for the last step."""
        self._bar.move(step, values)
        now = time.monotonic()
        if now - self._last_time >= _SECONDS_BETWEEN_PICTURES or step >= self._steps:
            self._last_time = now
            self._shown.update(self._bar.table())

    def say(self, text: str) -> None:
        """Print below the bar."""
        self._console.print(visible(text), highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Show the last values."""
        self._shown.update(self._bar.table())


class LineReporter:
    """Plain lines of metrics, at least five seconds apart."""

    def __init__(self, console: Console, steps: int) -> None:
        """Print nothing yet.

        Args:
          console: a file, pipe or the like.
          steps: of the whole run.
        """
        self._console, self._steps = console, steps
        self._last_time = 0.0

    def step(self, step: int, values: Mapping[str, Any]) -> None:
        """Print a line, unless the last one is recent; always for the last step."""
        now = time.monotonic()
        if now - self._last_time < _SECONDS_BETWEEN_LINES and step < self._steps:
            return
        self._last_time = now
        rate, left = values["tokens_per_second"], values["seconds_left"]
        # Nothing is timed before the second step.
        speed = f"  {rate:,.0f} tokens/s  {left:.0f} s left" if math.isfinite(left) else ""
        self.say(f"step {step}/{self._steps}  {line_of(values)}{speed}")

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(visible(text), highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Nothing is left open."""


def line_of(values: Mapping[str, Any]) -> str:
    """Losses, and weights where there are any, of all tasks in one line: ``task 0.693 x0.25``."""
    parts = []
    for name, value in values.items():
        if name.startswith("loss/"):
            task = name.removeprefix("loss/")
            loss = "-" if value is None else f"{value:.3f}"
            weight = values.get(f"weight/{task}")
            parts.append(f"{task} {loss}" + ("" if weight is None else f" x{weight:.2f}"))
    return "  ".join(parts)


def notebook_console() -> Console | None:
    """The console of the notebook that this runs in, None outside of one."""
    console = Console()
    return console if console.is_jupyter else None


def make_reporter(console: Console, steps: int, done: int) -> Reporter:
    """Return a live bar for a terminal or a notebook, plain lines for anything else.

    Args:
      console: where the output goes.
      steps: of the whole run.
      done: steps done already.
    """
    if console.is_jupyter and not console.quiet:
        return NotebookReporter(console, steps, done)
    if console.is_terminal:
        return TerminalReporter(console, steps, done)
    return LineReporter(console, steps)


def results_table(summary: Mapping[str, Any]) -> Table:
    """Lay out the results of a finished run.

    Args:
      summary: what `train` returned, or the content of `summary.json`.

    Returns:
      A table with a row for each task and metric, on validation and test; the loss of a task only
      where it is its only metric.
    """
    table = Table(title=f"best checkpoint: step {summary['best_step']}", title_justify="left")
    for column in ("task", "metric", "validation", "test"):
        table.add_column(column, justify="left" if column in ("task", "metric") else "right")
    for task, splits in summary["tasks"].items():
        names = dict.fromkeys(name for values in splits.values() for name in values)
        for name in names:
            if name == "loss" and len(names) > 1:
                continue
            cells = [format_value(name, splits.get(split, {}).get(name)) for split in _SPLITS]
            table.add_row(task, name.replace("_", " "), *cells)
    return table


def format_value(name: str, value: float | None) -> str:
    """Write a metric's value for people: `SHARES` in percent, other metrics with four digits.

    >>> format_value("accuracy", 0.875), format_value("perplexity", 41.23456)
    ('87.5 %', '41.23')
    """
    if value is None:
        return "-"
    return f"{100 * value:.1f} %" if name in SHARES else f"{value:.4g}"

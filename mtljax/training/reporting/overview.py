"""A run at a glance: its settings, its curves as lines of text, its best step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mtljax.errors import UserError
from mtljax.presets import differences, preset
from mtljax.tasks import main_metric
from mtljax.training.persistence import run_directory
from mtljax.training.reporting.metrics_file import read_metrics
from mtljax.training.reporting.plot_style import series

BARS, PLAIN_BARS = "▁▂▃▄▅▆▇█", ".:-=+*%@"
"""From low to high; the second for terminals that lack the first."""


class Curve(NamedTuple):
    """Values of one name over the steps of a run.

    Attributes:
      task: whose they are.
      name: `loss` (training), a metric (validation) or `weight`.
      steps: at which they were written.
      values: one a step.
    """

    task: str
    name: str
    steps: list[int]
    values: list[float]


class Overview(NamedTuple):
    """A run at a glance.

    Attributes:
      tasks: their kinds by name.
      preset: its name.
      settings: those in which the run differs from its preset, by dotted name.
      steps: done so far.
      finished: whether the run is complete.
      best_step: that of the best checkpoint; None before the end.
      curves: training loss, main metric on validation and weight of each task.
      summary: the content of `summary.json`; empty before the end.
    """

    tasks: dict[str, str]
    preset: str
    settings: dict[str, Any]
    steps: int
    finished: bool
    best_step: int | None
    curves: list[Curve]
    summary: dict[str, Any]


def overview(run_dir: str | Path) -> Overview:
    """Reads a run, finished or not, without its parameters.

    Raises:
      UserError: if the directory holds no run, or a damaged one.
    """
    directory = Path(run_dir)
    files = run_directory.read_run(directory)
    summary = run_directory.read_summary(directory) or {}
    lines = read_metrics(directory)
    train = [line for line in lines if line["split"] == "train"]
    validation = [line for line in lines if line["split"] == "validation"]
    curves = []
    for task in files.tasks:
        metric = main_metric(task, files.layout.outputs[task.name].classes)
        for of_split, name, column in (
            (train, "loss", f"loss/{task.name}"),
            (validation, metric, f"{task.name}/{metric}"),
            (train, "weight", f"weight/{task.name}"),
        ):
            steps, values = series(of_split, column)
            if values:
                curves.append(Curve(task.name, name, steps, values))
    try:
        base = preset(files.config.preset).config
    except UserError:  # of another version
        base = type(files.config)()
    changed = differences(base, files.config)
    return Overview(
        {task.name: task.kind for task in files.tasks},
        files.config.preset,
        {name: new for name, (_, new) in changed.items() if name != "preset"},
        max((line["step"] for line in lines), default=0),
        bool(summary),
        summary.get("best_step"),
        curves,
        summary,
    )


def sparkline(values: Sequence[float], width: int, bars: str = BARS) -> str:
    """Values as a line of bars, from the smallest to the largest of them.

    Args:
      values: in their order; of more than `width`, means of neighbours are shown.
      width: letters at most.
      bars: from low to high.

    >>> sparkline([0, 1, 2, 3, 3, 0], 6)
    '▁▃▅██▁'
    >>> sparkline([1, 1], 6, "._")
    '..'
    """
    count = min(width, len(values))
    edges = [len(values) * number // count for number in range(count + 1)] if count else []
    means = [sum(values[a:b]) / (b - a) for a, b in zip(edges, edges[1:], strict=False)]
    low, high = min(means, default=0.0), max(means, default=0.0)
    if not low < high:
        return bars[0] * count
    return "".join(bars[int((mean - low) / (high - low) * (len(bars) - 1))] for mean in means)

"""Losses, validation metrics and weights of a run as one figure, `curves.png`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtljax.tasks import main_metric
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.atomic_write import replacing
from mtljax.training.reporting.metrics_file import read_metrics
from mtljax.training.reporting.plot_style import (
    COLOURS,
    DASHES,
    INK,
    LOSS,
    METRIC,
    Line,
    mark_best,
    series,
    tidy,
)
from mtljax.training.reporting.progress import SHARES

NAME = "curves.png"


def draw_curves(run_dir: str | Path) -> Path:
    """Draw the curves of a run, finished or not, as `curves.png` in its directory.

    For each task a panel with the training loss by step (left axis) and its main metric on
    validation (right axis); a panel with the weights of the tasks, and one with the rates of their
    input groups where these are learned. Needs matplotlib, of the extra `plot`; leaves the state of
    `matplotlib.pyplot` as it is.

    Args:
      run_dir: the run directory.

    Returns:
      The path of the figure.

    Raises:
      UserError: if the directory holds no run, or a damaged one.
      ImportError: if matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    directory = Path(run_dir)
    files = run_directory.read_run(directory)
    summary = run_directory.read_summary(directory) or {}
    lines = read_metrics(directory)
    train = [line for line in lines if line["split"] == "train"]
    validation = [line for line in lines if line["split"] == "validation"]
    tasks = files.tasks
    best = summary.get("best_step")

    learned = any(f"rate/{task.name}" in line for line in train for task in tasks)
    columns = 2 if len(tasks) in (1, 3) else 3
    # The last row has the weights in what the tasks leave of it; learned rates have a row below.
    rows = len(tasks) // columns + 1 + learned
    figure = Figure(figsize=(4.3 * columns, 0.5 + 2.8 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(wspace=0.04, hspace=0.06, w_pad=0.08, h_pad=0.08)  # pyright: ignore
    grid = figure.add_gridspec(rows, columns)
    for number, task in enumerate(tasks):
        axes = figure.add_subplot(grid[number // columns, number % columns])
        name = main_metric(task, files.layout.outputs[task.name].classes)
        _draw_task(axes, task.name, name, train, validation, best)
    names = [task.name for task in tasks]
    weights = figure.add_subplot(grid[len(tasks) // columns, len(tasks) % columns :])
    _draw_by_task(weights, "weight", "weights of the tasks", names, train, best)
    if learned:
        rates = figure.add_subplot(grid[rows - 1, :])
        _draw_by_task(rates, "rate", "rates of the tasks' input groups", names, train, best)
    figure.suptitle(
        _title(directory, files.config.weighting, lines, best),
        x=0.01,
        ha="left",
        fontsize=12,
        color=INK,
    )
    path = directory / NAME
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, facecolor="white")
    return path


def _title(directory: Path, weighting: str, lines: Sequence[Line], best: int | None) -> str:
    steps = max((line["step"] for line in lines), default=0)
    parts = [directory.resolve().name, f"weighting {weighting}", f"{steps:,} steps"]
    if best is not None:
        parts.append(f"dotted: best checkpoint, step {best:,}")
    return "   ·   ".join(parts)


def _draw_task(
    axes: Any,
    task: str,
    metric: str,
    train: Sequence[Line],
    validation: Sequence[Line],
    best: int | None,
) -> None:
    from matplotlib.patheffects import withStroke

    steps, losses = series(train, f"loss/{task}")
    axes.plot(steps, losses, color=LOSS, linewidth=1.4)
    tidy(axes, task)
    axes.set_ylabel("training loss", color=LOSS)
    axes.tick_params(axis="y", labelcolor=LOSS)

    factor = 100 if metric in SHARES else 1
    steps, values = series(validation, f"{task}/{metric}")
    values = [factor * value for value in values]
    right = axes.twinx()
    right.plot(steps, values, color=METRIC, linewidth=1.2, marker="o", markersize=3.5)
    unit = " (%)" if metric in SHARES else ""
    shown = metric.replace("_", " ").replace("f1", "F1")
    right.set_ylabel(f"validation {shown}{unit}", color=METRIC)
    right.tick_params(axis="y", labelcolor=METRIC, length=0)
    right.margins(x=0.02, y=0.12)  # room for the figure at the best one
    for side in right.spines.values():
        side.set_visible(False)
    mark_best(axes, best)
    if best in steps:
        value = values[steps.index(best)]
        right.plot([best], [value], marker="o", markersize=8, color=METRIC, markerfacecolor="none")
        right.annotate(
            f"{value:.1f}" if metric in (*SHARES, "perplexity") else f"{value:.3g}",
            (best, value),
            xytext=(-6, 4),
            textcoords="offset points",
            ha="right",
            color=METRIC,
            fontweight="bold",
            fontsize=9,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )


def _draw_by_task(
    axes: Any,
    name: str,
    title: str,
    tasks: Sequence[str],
    train: Sequence[Line],
    best: int | None,
) -> None:
    for number, task in enumerate(tasks):
        steps, weights = series(train, f"{name}/{task}")
        # Curves that lie on one another are all seen: the lower ones are wider and less broken.
        axes.plot(
            steps,
            weights,
            label=task,
            color=COLOURS[number % len(COLOURS)],
            dashes=DASHES[number % len(DASHES)],
            linewidth=min(1.6 + 0.9 * (len(tasks) - 1 - number), 6.0),
        )
    tidy(axes, title)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(name, color=INK)
    mark_best(axes, best)
    axes.legend(loc="best", labelcolor=INK, fontsize=9, edgecolor="none", handlelength=3)

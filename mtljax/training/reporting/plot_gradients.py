"""Norms, cosines and conflicts of the tasks' gradients as one figure, `gradients.png`."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtljax.training.persistence import run_directory
from mtljax.training.persistence.atomic_write import replacing
from mtljax.training.reporting.metrics_file import read_metrics
from mtljax.training.reporting.plot_style import COLOURS, DASHES, INK, Line, series, tidy

NAME = "gradients.png"


def draw_gradients(run_dir: str | Path) -> Path | None:
    """Draw norms, cosines and conflicts of a run's gradients as `gradients.png` in its directory.

    Norms of the shared parameters' gradients by step, the mean cosine of every pair of tasks, and
    the share of pairs that conflict. Needs matplotlib, of the extra `plot`.

    Args:
      run_dir: the run directory.

    Returns:
      The path of the figure; None if the run was trained without `gradients.telemetry`.

    Raises:
      UserError: if the directory holds no run, or a damaged one.
      ImportError: if matplotlib is not installed.
    """
    directory = Path(run_dir)
    tasks = [task.name for task in run_directory.read_run(directory).tasks]
    train = [line for line in read_metrics(directory) if line["split"] == "train"]
    if not any(f"gradient_norm/{task}" in line for line in train for task in tasks):
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    figure = Figure(figsize=(13.5, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    norms, cosines, conflicts = figure.subplots(1, 3)
    for number, task in enumerate(tasks):
        norms.plot(
            *series(train, f"gradient_norm/{task}"),
            label=task,
            color=COLOURS[number % len(COLOURS)],
            dashes=DASHES[number % len(DASHES)],
        )
    tidy(norms, "norms of the tasks' gradients")
    norms.set_yscale("log")
    norms.yaxis.set_minor_formatter(NullFormatter())
    norms.legend(loc="best", labelcolor=INK, fontsize=8, edgecolor="none")
    _draw_cosines(figure, cosines, tasks, train)
    steps, shares = series(train, "conflicts")
    conflicts.plot(steps, [100 * share for share in shares], color=INK, linewidth=1.4)
    tidy(conflicts, "pairs of tasks in conflict (%)")
    conflicts.set_ylim(-3, 103)
    path = directory / NAME
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, facecolor="white")
    return path


def _draw_cosines(figure: Any, axes: Any, tasks: Sequence[str], train: Sequence[Line]) -> None:
    means = np.full((len(tasks), len(tasks)), np.nan)
    for i, k in itertools.combinations(range(len(tasks)), 2):
        _, values = series(train, f"cosine/{tasks[i]}/{tasks[k]}")
        if values:
            means[i, k] = means[k, i] = np.mean(values)
    largest = max(0.05, float(np.nanmax(np.abs(means), initial=0)))
    image = axes.imshow(means, cmap="PuOr", vmin=-largest, vmax=largest)
    if len(tasks) <= 12:
        for (i, k), mean in np.ndenumerate(means):
            if np.isfinite(mean):
                dark = abs(mean) > 0.6 * largest
                axes.text(
                    k,
                    i,
                    f"{mean:.2f}",
                    ha="center",
                    va="center",
                    fontsize=9,
                    color="white" if dark else INK,
                )
    positions = range(len(tasks))
    axes.set_xticks(positions, tasks, rotation=30, ha="right", fontsize=8, color=INK)
    axes.set_yticks(positions, tasks, fontsize=8, color=INK)
    axes.tick_params(length=0)
    axes.set_title("mean cosines", loc="left", fontsize=10, fontweight="bold", color=INK)
    for side in axes.spines.values():
        side.set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.85)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8, labelcolor=INK)

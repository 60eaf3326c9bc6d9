"""Curves of a run: losses, validation metrics and task weights over steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtljax.errors import UserError
from mtljax.tasks import main_metric
from mtljax.training.metrics_file import read_metrics
from mtljax.training.run_directory import read_run

NAME = "curves.png"

# Okabe and Ito's palette, told apart by colour-blind readers too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LOSS, _METRIC = "#8A8A8A", "#0072B2"
_COLUMNS = 3


def draw_curves(run_dir: str | Path) -> Path:
    """Draw `curves.png` from the metrics of a run.

    A panel a task has its training loss (grey, left axis) and its main metric on validation (blue,
    right axis); the last panel has the weights of the tasks.

    Args:
      run_dir: a run directory.

    Returns:
      The path of the picture.

    Raises:
      UserError: if there are no metrics.
      ImportError: if matplotlib is not installed (the extra 'plot').
    """
    from matplotlib.figure import Figure

    directory = Path(run_dir)
    lines = read_metrics(directory)
    train = [line for line in lines if line["split"] == "train"]
    validation = [line for line in lines if line["split"] == "validation"]
    if not train:
        raise UserError(f"{directory}: no metrics to draw")
    files = read_run(directory)
    count = len(files.tasks) + 1
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(4.2 * columns, 2.7 * rows), dpi=150, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, task in zip(axes, files.tasks, strict=False):
        metric = main_metric(task, files.layout.outputs[task.name].classes)
        _task_panel(axis, task.name, metric, train, validation)
    _weights_panel(axes[count - 1], [task.name for task in files.tasks], train)
    for axis in axes[count:]:
        axis.set_axis_off()
    path = directory / NAME
    temporary = directory / f".{NAME}"
    figure.savefig(temporary, format="png")
    temporary.replace(path)
    return path


def _series(lines: Sequence[Mapping[str, Any]], name: str) -> tuple[list[int], list[float]]:
    found = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
    return [step for step, _ in found], [value for _, value in found]


def _task_panel(
    axis: Any,
    task: str,
    metric: str,
    train: Sequence[Mapping[str, Any]],
    validation: Sequence[Mapping[str, Any]],
) -> None:
    _plain(axis, task)
    axis.plot(*_series(train, f"loss/{task}"), color=_LOSS, linewidth=1.2)
    axis.set_ylabel("training loss", color="#606060")
    right = axis.twinx()
    for side in ("top", "left"):
        right.spines[side].set_visible(False)
    right.plot(
        *_series(validation, f"{task}/{metric}"), color=_METRIC, marker="o", markersize=3
    )
    right.set_ylabel(f"validation {metric.replace('_', ' ')}", color=_METRIC)
    right.tick_params(axis="y", colors=_METRIC)


def _weights_panel(
    axis: Any, tasks: Sequence[str], train: Sequence[Mapping[str, Any]]
) -> None:
    from matplotlib.lines import Line2D

    _plain(axis, "task weights")
    for i, task in enumerate(tasks):
        # Equal weights lie on one line: dashes of unlike phase keep all of them in sight.
        dashes = (4 * i, (4, 4 * max(0, len(tasks) - 1)))
        style = (0, (1, 0)) if len(tasks) == 1 else dashes
        axis.plot(
            *_series(train, f"weight/{task}"),
            color=_COLOURS[i % len(_COLOURS)],
            linewidth=2,
            linestyle=style,
        )
    axis.set_ylim(bottom=0)
    keys = [Line2D([], [], color=_COLOURS[i % len(_COLOURS)]) for i in range(len(tasks))]
    axis.legend(keys, tasks, fontsize="small", frameon=False, loc="lower left")


def _plain(axis: Any, title: str) -> None:
    axis.set_title(title, loc="left", fontsize="medium", fontweight="bold")
    axis.set_xlabel("step")
    axis.grid(axis="y", color="#E6E6E6", linewidth=0.8)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)

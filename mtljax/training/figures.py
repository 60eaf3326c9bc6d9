"""The curves of a run as one picture: a panel a task, and one of the tasks' weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtljax.tasks import main_metric
from mtljax.training import run_directory
from mtljax.training.metrics_file import read_metrics
from mtljax.training.progress import SHARES

NAME = "curves.png"

# Okabe and Ito's colours, which people who confuse red and green can tell apart.
_LOSS, _METRIC, _INK, _PALE = "#0072B2", "#D55E00", "#333333", "#DDDDDD"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ((), (6, 2), (2, 2), (6, 2, 2, 2), (1, 3))

Line = dict[str, Any]


def draw_curves(run_dir: str | Path) -> Path:
    """Draw the curves of a run, finished or not, as `curves.png` in its directory.

    For each task the training loss by step (left axis) and its main metric on validation (right
    axis); and the weights that the tasks had. Needs matplotlib, of the extra `plot`; touches
    nothing that belongs to `matplotlib.pyplot`.

    Args:
      run_dir: the run directory.

    Returns:
      The path of the picture.

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

    columns = 2 if len(tasks) in (1, 3) else 3
    rows = len(tasks) // columns + 1
    figure = Figure(figsize=(4.3 * columns, 0.5 + 2.8 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(wspace=0.04, hspace=0.06, w_pad=0.08, h_pad=0.08)  # pyright: ignore
    grid = figure.add_gridspec(rows, columns)
    for number, task in enumerate(tasks):
        axes = figure.add_subplot(grid[number // columns, number % columns])
        name = main_metric(task, files.layout.outputs[task.name].classes)
        _draw_task(axes, task.name, name, train, validation, best)
    weights = figure.add_subplot(grid[rows - 1, len(tasks) % columns :])
    _draw_weights(weights, [task.name for task in tasks], train, best)
    figure.suptitle(
        _title(directory, files.config.weighting, lines, best),
        x=0.01,
        ha="left",
        fontsize=12,
        color=_INK,
    )
    path = directory / NAME
    temporary = directory / f".{NAME}.tmp"
    figure.savefig(temporary, format="png", dpi=120, facecolor="white")
    temporary.replace(path)
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

    steps, losses = _series(train, f"loss/{task}")
    axes.plot(steps, losses, color=_LOSS, linewidth=1.4)
    _tidy(axes, task)
    axes.set_ylabel("training loss", color=_LOSS)
    axes.tick_params(axis="y", labelcolor=_LOSS)

    factor = 100 if metric in SHARES else 1
    steps, values = _series(validation, f"{task}/{metric}")
    values = [factor * value for value in values]
    right = axes.twinx()
    right.plot(steps, values, color=_METRIC, linewidth=1.2, marker="o", markersize=3.5)
    unit = " (%)" if metric in SHARES else ""
    shown = metric.replace("_", " ").replace("f1", "F1")
    right.set_ylabel(f"validation {shown}{unit}", color=_METRIC)
    right.tick_params(axis="y", labelcolor=_METRIC, length=0)
    right.margins(x=0.02, y=0.12)  # room for the figure at the best one
    for side in right.spines.values():
        side.set_visible(False)
    _mark_best(axes, best)
    if best in steps:
        value = values[steps.index(best)]
        right.plot([best], [value], marker="o", markersize=8, color=_METRIC, markerfacecolor="none")
        right.annotate(
            f"{value:.1f}" if metric in (*SHARES, "perplexity") else f"{value:.3g}",
            (best, value),
            xytext=(-6, 4),
            textcoords="offset points",
            ha="right",
            color=_METRIC,
            fontweight="bold",
            fontsize=9,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )


def _draw_weights(axes: Any, tasks: Sequence[str], train: Sequence[Line], best: int | None) -> None:
    for number, task in enumerate(tasks):
        steps, weights = _series(train, f"weight/{task}")
        # Curves that lie on one another are all seen: the lower ones are wider and less broken.
        axes.plot(
            steps,
            weights,
            label=task,
            color=_COLOURS[number % len(_COLOURS)],
            dashes=_DASHES[number % len(_DASHES)],
            linewidth=min(1.6 + 0.9 * (len(tasks) - 1 - number), 6.0),
        )
    _tidy(axes, "weights of the tasks")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("weight", color=_INK)
    _mark_best(axes, best)
    axes.legend(loc="best", labelcolor=_INK, fontsize=9, edgecolor="none", handlelength=3)


def _mark_best(axes: Any, best: int | None) -> None:
    if best is not None:
        axes.axvline(best, color=_INK, linewidth=0.8, linestyle=":", zorder=0)


def _tidy(axes: Any, title: str) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=_INK)
    axes.grid(color=_PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=_INK)
    axes.set_xlabel("step", color=_INK)
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    for name, side in axes.spines.items():
        side.set_visible(name == "bottom")
        side.set_color(_PALE)


def _series(lines: Sequence[Line], name: str) -> tuple[list[int], list[float]]:
    """Steps and values of one name, without the lines in which it has none."""
    found = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
    return [step for step, _ in found], [value for _, value in found]

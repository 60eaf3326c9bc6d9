"""The validation curves of several runs over each other, as a figure."""

from collections.abc import Sequence
from pathlib import Path

from mtljax.tasks import main_metric
from mtljax.training import read_metrics
from mtljax.training.persistence import run_directory
from mtljax.training.persistence.atomic_write import replacing
from mtljax.training.reporting.plot_style import COLOURS, DASHES, INK, series, tidy
from mtljax.training.reporting.progress import SHARES


def draw_comparison(runs: Sequence[str | Path], path: str | Path) -> Path:
    """Draw the main metric of every task on validation by step, a line a run.

    Needs matplotlib, of the extra `plot`; leaves the state of `matplotlib.pyplot` as it is.

    Args:
      runs: run directories, finished or not.
      path: of the PNG.

    Returns:
      The path.

    Raises:
      UserError: if a directory holds no run, or a damaged one.
      ImportError: if matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    directories = [Path(run) for run in runs]
    files = [run_directory.read_run(directory) for directory in directories]
    lines = [
        [line for line in read_metrics(directory) if line["split"] == "validation"]
        for directory in directories
    ]
    metrics = {
        task.name: main_metric(task, of_run.layout.outputs[task.name].classes)
        for of_run in files
        for task in of_run.tasks
    }
    columns = min(len(metrics), 3)
    rows = -(-len(metrics) // columns)
    figure = Figure(figsize=(4.3 * columns, 0.8 + 2.8 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (task, metric) in zip(grid, metrics.items(), strict=False):
        factor = 100 if metric in SHARES else 1
        for number, (directory, of_run) in enumerate(zip(directories, lines, strict=True)):
            steps, values = series(of_run, f"{task}/{metric}")
            if not steps:
                continue
            axes.plot(
                steps,
                [factor * value for value in values],
                color=COLOURS[number % len(COLOURS)],
                dashes=DASHES[number // len(COLOURS) % len(DASHES)],
                linewidth=1.4,
                marker="o",
                markersize=3,
                label=directory.resolve().name,
            )
        tidy(axes, task)
        unit = " (%)" if metric in SHARES else ""
        axes.set_ylabel(f"validation {metric.replace('_', ' ')}{unit}", color=INK)
    for axes in grid[len(metrics) :]:
        axes.set_visible(False)
    # A run that has none of the first task stands where its own first task is.
    shown = {
        label: handle
        for axes in grid
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        shown.values(), shown, loc="outside upper left", ncols=3, frameon=False, fontsize=9
    )
    target = Path(path)
    with replacing(target) as temporary:
        figure.savefig(temporary, format="png", dpi=120, facecolor="white")
    return target

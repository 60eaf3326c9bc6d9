"""What new tasks learn from few samples, as a figure."""

from collections.abc import Mapping
from pathlib import Path

from mtljax.studies.answers import NewTask
from mtljax.training.persistence.atomic_write import replacing
from mtljax.training.reporting.plot_style import COLOURS, INK, tidy
from mtljax.training.reporting.progress import SHARES

_MARKERS = ("o", "s", "^", "D")


def draw_new_tasks(new_tasks: Mapping[str, NewTask], path: str | Path) -> Path:
    """Draw the test metric of new tasks by the number of samples, a line a way, with intervals.

    Needs matplotlib, of the extra `plot`; leaves the state of `matplotlib.pyplot` as it is.

    Args:
      new_tasks: of an `Answer`; one or more.
      path: of the PNG.

    Returns:
      The path.

    Raises:
      ImportError: if matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    columns = min(len(new_tasks), 3)
    rows = -(-len(new_tasks) // columns)
    figure = Figure(figsize=(4.3 * columns, 0.8 + 2.8 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, task) in zip(grid, new_tasks.items(), strict=False):
        factor = 100 if task.metric in SHARES else 1
        for number, (way, values) in enumerate(task.values.items()):
            points = [
                (count * 1.04**number, value)
                for count, value in zip(task.samples, values, strict=True)
                if value is not None
            ]
            middles = [factor * value.value for _, value in points]
            below = [factor * max(0, value.value - value.low) for _, value in points]
            above = [factor * max(0, value.high - value.value) for _, value in points]
            axes.errorbar(
                [count for count, _ in points],
                middles,
                yerr=[below, above],
                color=COLOURS[number],
                marker=_MARKERS[number],
                markersize=4,
                linewidth=1.4,
                elinewidth=0.8,
                label="from nothing" if way == "alone" else way,
            )
        tidy(axes, name)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(list(task.samples)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(list(task.samples), [f"{count:,}" for count in task.samples])
        axes.set_xlabel("training texts", color=INK)
        unit = " (%)" if task.metric in SHARES else ""
        axes.set_ylabel(f"test {task.metric.replace('_', ' ')}{unit}", color=INK)
    for axes in grid[len(new_tasks) :]:
        axes.set_visible(False)
    shown = dict(zip(*grid[0].get_legend_handles_labels()[::-1], strict=True))
    figure.legend(
        shown.values(), shown, loc="outside upper left", ncols=4, frameon=False, fontsize=9
    )
    target = Path(path)
    with replacing(target) as temporary:
        figure.savefig(temporary, format="png", dpi=120, facecolor="white")
    return target

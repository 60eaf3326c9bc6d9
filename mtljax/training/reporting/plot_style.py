"""Colours, axes and series that the figures of a run share."""

from collections.abc import Sequence
from typing import Any

# Okabe and Ito's colours, which people who confuse red and green can tell apart.
LOSS, METRIC, INK, PALE = "#0072B2", "#D55E00", "#333333", "#DDDDDD"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ((), (6, 2), (2, 2), (6, 2, 2, 2), (1, 3))

Line = dict[str, Any]
"""One line of `metrics.jsonl`."""


def mark_best(axes: Any, best: int | None) -> None:
    """Draw a dotted line at the step of the best checkpoint, if there is one."""
    if best is not None:
        axes.axvline(best, color=INK, linewidth=0.8, linestyle=":", zorder=0)


def tidy(axes: Any, title: str) -> None:
    """Give axes a title, a pale grid, and steps with commas as ticks."""
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.grid(color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=INK)
    axes.set_xlabel("step", color=INK)
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    for name, side in axes.spines.items():
        side.set_visible(name == "bottom")
        side.set_color(PALE)


def series(lines: Sequence[Line], name: str) -> tuple[list[int], list[float]]:
    """Select the steps and values of one name, without the lines in which it has no value."""
    points = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
    return [step for step, _ in points], [value for _, value in points]

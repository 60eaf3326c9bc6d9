"""The metrics of runs, to be compared."""

from pathlib import Path
from typing import Any

from mtljax.training.reporting.metrics_file import read_metrics

TIMES = ("tokens_per_second", "seconds/")
"""How the names of metrics begin that depend on the clock."""


def without_times(directory: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics, without those that depend on the clock."""
    return [
        {name: value for name, value in line.items() if not name.startswith(TIMES)}
        for line in read_metrics(directory)
    ]

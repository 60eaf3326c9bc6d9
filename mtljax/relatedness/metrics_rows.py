"""Affinities of a run, from the lines that it wrote."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mtljax.relatedness.affinity import first_order_affinity


def affinity_of_metrics(rows: Iterable[Mapping[str, Any]], tasks: Sequence[str]) -> np.ndarray:
    """The first-order affinities of a run that was trained with ``--gradients.telemetry``.

    Each line of training metrics is a draw: the affinity of its means, for a learning rate of 1
    (the scale of a step that is imagined; it does not change which groups are best).

    Args:
      rows: lines of metrics, as `mtljax.training.read_metrics` returns them; those without inner
        products of every pair are passed over.
      tasks: the names of T tasks, in the order of rows and columns.

    Returns:
      ``[N, T, T]`` of N lines, from a row onto a column, for `best_grouping`.

    Raises:
      ValueError: no line has what is needed.

    >>> row = {"loss/a": 1.0, "loss/b": 2.0, "gramian/a/a": 4.0, "gramian/a/b": 1.0}
    >>> affinity_of_metrics([{**row, "gramian/b/b": 2.0}], ["a", "b"]).tolist()
    [[[4.0, 0.5], [1.0, 1.0]]]
    """
    found = []
    for row in rows:
        losses = [row.get(f"loss/{task}") for task in tasks]
        products = [
            [row.get(f"gramian/{i}/{k}", row.get(f"gramian/{k}/{i}")) for k in tasks] for i in tasks
        ]
        flat = [*losses, *(value for of_task in products for value in of_task)]
        if all(isinstance(value, float | int) and np.isfinite(value) for value in flat):
            found.append(np.asarray(first_order_affinity(np.array(losses), np.array(products))))
    if not found:
        raise ValueError(
            "no line has the losses and inner products of these tasks: train with "
            "--gradients.telemetry"
        )
    return np.stack(found)

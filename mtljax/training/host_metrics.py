"""Metrics that are computed on the host, text by text, as spans of tags are."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mtljax.data import GroupBatch, unpack
from mtljax.kinds import KINDS, Output
from mtljax.tasks import Task, metric_names


class HostMetrics:
    """Counts metrics over one pass of a split, when all passages of a text have been read."""

    def __init__(
        self, tasks: Iterable[Task], outputs: Mapping[str, Output], rows: np.ndarray
    ) -> None:
        """Nothing is counted yet.

        Args:
          tasks: of the input group.
          outputs: what they predict, by name.
          rows: ``[passages]``, the row of the split that each passage of the pass comes from.
        """
        self._tasks = {task.name: task for task in tasks}
        self._outputs = outputs
        self._passages = np.bincount(rows)
        # Passages of texts that are not complete: by task and row, and number of the passage.
        self._waiting: dict[tuple[str, int], dict[int, tuple[np.ndarray, np.ndarray]]] = {}

    def add(self, name: str, batch: GroupBatch, predicted: np.ndarray) -> dict[str, Any]:
        """The metric states of the texts that a batch completes, over the targets they have.

        Args:
          name: of the task.
          batch: an evaluation batch.
          predicted: its predicted targets, ``[R, S]`` or ``[R, N]``.

        Returns:
          States by name of metric, as Python integers.
        """
        texts = self.completed(name, batch, predicted)
        answers, targets = ([text[i] for text in texts] for i in (1, 2))
        task, output = self._tasks[name], self._outputs[name]
        return {
            metric: count(answers, targets, task.scheme, output.classes)
            for metric, count in KINDS[task.kind].host_metrics.items()
            if metric in metric_names(task, output.classes)
        }

    def completed(
        self, name: str, batch: GroupBatch, predicted: np.ndarray
    ) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """The texts that a batch completes; `add` and this are two uses of one pass.

        Args:
          name: of the task.
          batch: an evaluation batch.
          predicted: its predicted targets, ``[R, S]`` or ``[R, N]``.

        Returns:
          For each text its row of the split, and what is predicted and is right where it has a
          target.
        """
        passages = batch["passage"][batch["example"] >= 0].tolist()
        arrays = (predicted, batch["targets"][name], batch["weights"][name])
        by_passage = zip(passages, *(unpack(batch, array) for array in arrays), strict=True)
        texts = []
        for passage, (row, answer), (_, target), (_, weight) in by_passage:
            counted = weight > 0
            values = (answer[counted], target[counted])
            if self._passages[row] > 1:
                waiting = self._waiting.setdefault((name, row), {})
                waiting[passage] = values
                if len(waiting) < self._passages[row]:
                    continue
                del self._waiting[name, row]
                ordered = [waiting[number] for number in sorted(waiting)]
                values = tuple(map(np.concatenate, zip(*ordered, strict=True)))
            texts.append((row, *values))
        return texts

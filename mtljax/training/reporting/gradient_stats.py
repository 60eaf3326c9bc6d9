"""Norms, cosines and conflicts of the tasks' gradients, averaged over steps."""

import itertools
from collections.abc import Sequence

import numpy as np

from mtljax.solvers import UnitGramian


class GradientStats:
    """Sums of norms, inner products, cosines and conflicts over the steps that measured them."""

    def __init__(self, tasks: Sequence[str]) -> None:
        """Begin with nothing measured.

        Args:
          tasks: names of the tasks, in the order of the Gramian.
        """
        self._tasks = tasks
        vector, matrix = (len(tasks),), (len(tasks), len(tasks))
        # Each sum with the number of steps that it is over.
        self._norms, self._norm_count = np.zeros(vector), np.zeros(vector)
        self._cosines, self._cosine_count = np.zeros(matrix), np.zeros(matrix)
        self._products, self._product_count = np.zeros(matrix), np.zeros(matrix)
        self._conflicts = self._pairs = 0

    def add(self, gradients: UnitGramian, present: np.ndarray) -> None:
        """Add a step; tasks that are absent or whose gradient is not finite do not count.

        A gradient of zero has a norm and inner products, but neither cosines nor conflicts.

        Args:
          gradients: cosines ``[T, T]`` and norms ``[T]`` of the step; NaN where it measured none.
          present: ``[T]``, above 0 for tasks that count.
        """
        cosines, norms = (np.asarray(part, float) for part in gradients)
        measured = (present > 0) & np.isfinite(norms)
        self._norms += np.where(measured, norms, 0)
        self._norm_count += measured

        pairs = np.outer(measured, measured) & np.isfinite(cosines)
        scale = np.where(measured, norms, 0)
        self._products += np.where(pairs, cosines, 0) * np.outer(scale, scale)
        self._product_count += pairs

        nonzero = measured & (norms > 0)
        pairs &= np.outer(nonzero, nonzero)
        self._cosines += np.where(pairs, cosines, 0)
        self._cosine_count += pairs
        above = np.triu(pairs, 1)
        self._conflicts += int((above & (cosines < 0)).sum())
        self._pairs += int(above.sum())

    def means(self) -> dict[str, float]:
        """Return the means over the steps added, by name.

        Returns:
          ``gradient_norm/TASK``; ``gramian/TASK/TASK`` for every pair and for a task with itself;
          ``cosine/TASK/TASK`` for every pair; ``conflicts``, the share of pairs whose cosine is
          negative. Empty if nothing was measured.
        """
        values = {
            f"gradient_norm/{task}": self._norms[i] / self._norm_count[i]
            for i, task in enumerate(self._tasks)
            if self._norm_count[i]
        }
        for i, k in itertools.combinations_with_replacement(range(len(self._tasks)), 2):
            if self._product_count[i, k]:
                name = f"gramian/{self._tasks[i]}/{self._tasks[k]}"
                values[name] = self._products[i, k] / self._product_count[i, k]
        for i, k in itertools.combinations(range(len(self._tasks)), 2):
            if self._cosine_count[i, k]:
                name = f"cosine/{self._tasks[i]}/{self._tasks[k]}"
                values[name] = self._cosines[i, k] / self._cosine_count[i, k]
        if self._pairs:
            values["conflicts"] = self._conflicts / self._pairs
        return values

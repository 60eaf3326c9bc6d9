"""How the gradients of the tasks stand to each other, averaged over steps."""

import itertools
from collections.abc import Sequence

import numpy as np

from mtljax.solvers import UnitGramian


class GradientStats:
    """Sums of inner products, norms, cosines and conflicts over the steps that measured them."""

    def __init__(self, tasks: Sequence[str]) -> None:
        """Begin for tasks in the order of the Gramian."""
        self._tasks = tasks
        count = len(tasks)
        self._norms, self._seen = np.zeros(count), np.zeros(count)
        self._cosines, self._met = np.zeros((count, count)), np.zeros((count, count))
        self._products, self._counted = np.zeros((count, count)), np.zeros((count, count))
        self._conflicts = self._pairs = 0

    def add(self, gradients: UnitGramian, present: np.ndarray) -> None:
        """Add a step; tasks that are absent or not finite do not count.

        A gradient of zero has a norm and inner products, but neither cosines nor conflicts.

        Args:
          gradients: of the step; NaN where it measured nothing.
          present: ``[T]``, above 0 for tasks that count.
        """
        cosines, norms = (np.asarray(part, float) for part in gradients)
        seen = (present > 0) & np.isfinite(norms)
        alive = seen & (norms > 0)
        met = np.outer(alive, alive) & np.isfinite(cosines)
        self._norms += np.where(seen, norms, 0)
        self._seen += seen
        self._cosines += np.where(met, cosines, 0)
        self._met += met
        known = np.outer(seen, seen) & np.isfinite(cosines)
        scale = np.where(seen, norms, 0)
        self._products += np.where(known, cosines, 0) * np.outer(scale, scale)
        self._counted += known
        above = np.triu(met, 1)
        self._conflicts += int((above & (cosines < 0)).sum())
        self._pairs += int(above.sum())

    def means(self) -> dict[str, float]:
        """What was measured.

        Returns:
          ``gradient_norm/TASK``; ``gramian/TASK/TASK`` for every pair and for a task with itself;
          ``cosine/TASK/TASK`` for every pair; ``conflicts``, the share of pairs whose cosine is
          negative. Empty if nothing was measured.
        """
        values = {
            f"gradient_norm/{task}": self._norms[i] / self._seen[i]
            for i, task in enumerate(self._tasks)
            if self._seen[i]
        }
        for i, k in itertools.combinations_with_replacement(range(len(self._tasks)), 2):
            if self._counted[i, k]:
                name = f"gramian/{self._tasks[i]}/{self._tasks[k]}"
                values[name] = self._products[i, k] / self._counted[i, k]
        for i, k in itertools.combinations(range(len(self._tasks)), 2):
            if self._met[i, k]:
                name = f"cosine/{self._tasks[i]}/{self._tasks[k]}"
                values[name] = self._cosines[i, k] / self._met[i, k]
        if self._pairs:
            values["conflicts"] = self._conflicts / self._pairs
        return values

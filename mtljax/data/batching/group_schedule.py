"""Which rows of each input group a step reads."""

import bisect
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

_CHUNK = 512  # steps that are planned at a time


class Turns(Protocol):
    """The rows that steps read, for any step, without those before it having been made."""

    def before(self, step: int) -> dict[str, int]:
        """Rows of each group that the steps before this one have read."""
        ...

    def at(self, step: int) -> dict[str, int]:
        """Rows of each group that this step reads; 0 for a group that sits it out."""
        ...


class AllGroups:
    """Every step reads every group; the number of rows may change from stage to stage.

    Args:
        stages: rows of each group, for each of the run's stages.
        steps: steps of the run; those after it are like its last.
    """

    def __init__(self, stages: Sequence[Mapping[str, int]], steps: int) -> None:
        self._stages = stages
        # Step n is in stage floor(n stages / steps).
        self._starts = [-(-stage * steps // len(stages)) for stage in range(len(stages))]

    def before(self, step: int) -> dict[str, int]:
        """See `Turns`."""
        ends = [*self._starts[1:], step]
        lengths = [
            max(0, min(step, end) - start) for start, end in zip(self._starts, ends, strict=True)
        ]
        return {
            name: sum(n * rows[name] for n, rows in zip(lengths, self._stages, strict=True))
            for name in self._stages[0]
        }

    def at(self, step: int) -> dict[str, int]:
        """See `Turns`."""
        return dict(self._stages[bisect.bisect_right(self._starts, step) - 1])


class GroupSubset:
    """A step reads some of the groups: those that are most behind what is due to them.

    What a group has had is never more than a turn from what is due to it, so that observed rates
    are those asked for. The order of the turns is the seed's.

    Args:
        rows: of each group, when it has a turn.
        stages: the share of the steps in which each group has a turn, for each of the run's stages;
            each adds up to the same whole number.
        steps: steps of the run; those after it are like its last.
        seed: whole numbers from 0.
    """

    def __init__(
        self,
        rows: Mapping[str, int],
        stages: Sequence[Mapping[str, float]],
        steps: int,
        seed: Sequence[int],
    ) -> None:
        self._names = list(rows)
        self._rows = np.asarray([rows[name] for name in self._names], np.int64)
        self._shares = np.asarray([[stage[name] for name in self._names] for stage in stages])
        self._steps = steps
        self._turns = round(float(self._shares[0].sum()))
        # Whoever is due as much as another goes first or last by this.
        self._due = 1e-3 * np.random.default_rng(seed).random(len(self._names))
        self._had = np.zeros((1, len(self._names)), np.int64)

    def before(self, step: int) -> dict[str, int]:
        """See `Turns`."""
        return self._named(self._counts(step) * self._rows)

    def at(self, step: int) -> dict[str, int]:
        """See `Turns`."""
        return self._named((self._counts(step + 1) - self._counts(step)) * self._rows)

    def _named(self, values: np.ndarray) -> dict[str, int]:
        return dict(zip(self._names, values.tolist(), strict=True))

    def _counts(self, step: int) -> np.ndarray:
        # Turns of each group before a step, planned as far as they have been asked for.
        while len(self._had) <= step:
            planned = np.empty((_CHUNK, len(self._names)), np.int64)
            had, due = self._had[-1].copy(), self._due
            for i in range(_CHUNK):
                due = due + self._shares[self._stage(len(self._had) - 1 + i)]
                had[np.argsort(had - due, kind="stable")[: self._turns]] += 1
                planned[i] = had
            self._had, self._due = np.concatenate([self._had, planned]), due
        return self._had[step]

    def _stage(self, step: int) -> int:
        count = len(self._shares)
        return min(step * count // max(1, self._steps), count - 1)

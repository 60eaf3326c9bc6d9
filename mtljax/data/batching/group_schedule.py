"""The schedule of input groups: how many rows of each group a step reads."""

import bisect
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

_CHUNK = 512  # steps that are planned at a time


class GroupSchedule(Protocol):
    """The rows that any step reads, without the batches of the steps before it being made."""

    def rows_before(self, step: int) -> dict[str, int]:
        """Rows of each group that the steps before this one have read in all."""
        ...

    def rows_at(self, step: int) -> dict[str, int]:
        """Rows of each group that this step reads; 0 for a group that it leaves out."""
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

    def rows_before(self, step: int) -> dict[str, int]:
        """See `GroupSchedule`."""
        ends = [*self._starts[1:], step]
        lengths = [
            max(0, min(step, end) - start) for start, end in zip(self._starts, ends, strict=True)
        ]
        return {
            name: sum(n * rows[name] for n, rows in zip(lengths, self._stages, strict=True))
            for name in self._stages[0]
        }

    def rows_at(self, step: int) -> dict[str, int]:
        """See `GroupSchedule`."""
        return dict(self._stages[bisect.bisect_right(self._starts, step) - 1])


class GroupSubset:
    """Every step reads some of the groups: those that are furthest behind their shares.

    After any number of steps, those that have read a group are within about one of its share of
    them, so that the observed rates are those asked for. The seed decides between groups that are
    equally far behind.

    Args:
        rows: of each group, in a step that reads it.
        stages: the share of the steps that read each group, for each of the run's stages; the
            shares of a stage add up to the number of groups in a step.
        steps: steps of the run; those after it are like its last.
        seed: integers from 0.
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
        self._groups_per_step = round(float(self._shares[0].sum()))
        # Steps that should have read each group; a little noise decides between equal ones.
        self._due = 1e-3 * np.random.default_rng(seed).random(len(self._names))
        # Steps that have read each group, before each step that is planned so far.
        self._read = np.zeros((1, len(self._names)), np.int64)

    def rows_before(self, step: int) -> dict[str, int]:
        """See `GroupSchedule`."""
        return self._named(self._steps_read(step) * self._rows)

    def rows_at(self, step: int) -> dict[str, int]:
        """See `GroupSchedule`."""
        return self._named((self._steps_read(step + 1) - self._steps_read(step)) * self._rows)

    def _named(self, values: np.ndarray) -> dict[str, int]:
        return dict(zip(self._names, values.tolist(), strict=True))

    def _steps_read(self, step: int) -> np.ndarray:
        # Each step depends on all before it: they are planned once, chunk by chunk, and kept.
        while len(self._read) <= step:
            planned = np.empty((_CHUNK, len(self._names)), np.int64)
            read, due = self._read[-1].copy(), self._due
            for i in range(_CHUNK):
                due = due + self._shares[self._stage(len(self._read) - 1 + i)]
                furthest_behind = np.argsort(read - due, kind="stable")[: self._groups_per_step]
                read[furthest_behind] += 1
                planned[i] = read
            self._read, self._due = np.concatenate([self._read, planned]), due
        return self._read[step]

    def _stage(self, step: int) -> int:
        count = len(self._shares)
        return min(step * count // max(1, self._steps), count - 1)

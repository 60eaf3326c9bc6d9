"""A schedule of input groups whose shares are learned while it is read."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class LearnedGroups:
    """Every step reads some of the groups: those that are furthest behind their shares so far.

    A `GroupSchedule` like `GroupSubset`, whose shares `learn` changes for steps that are still to
    be planned. Steps are planned when they are first asked for, each after all before it; a thread
    that makes batches ahead may ask, and so may whoever counts what was read.

    Args:
        rows: of each group, in a step that reads it.
        shares: the share of the steps that read each group, to begin with; they add up to the
            number of groups in a step.
        seed: decides between groups that are equally far behind: integers from 0.
        whole_every: every so many steps one reads all groups, which its shares do not count; 0 for
            none.
    """

    def __init__(
        self,
        rows: Mapping[str, int],
        shares: Mapping[str, float],
        seed: Sequence[int],
        whole_every: int = 0,
    ) -> None:
        self._names, self._whole_every = list(rows), whole_every
        self._rows = np.asarray([rows[name] for name in self._names], np.int64)
        self._groups_per_step = round(sum(shares.values()))
        # From which step on which shares hold, in ascending order.
        self._shares = [(0, self._ordered(shares))]
        # Before each step from the first that is kept on: the steps that should have read each
        # group, a little noise between equal ones, and those that did.
        self._first = 0
        self._due = [1e-3 * np.random.default_rng(seed).random(len(self._names))]
        self._read = [np.zeros(len(self._names), np.int64)]
        self._lock = threading.RLock()

    def rows_before(self, step: int) -> dict[str, int]:
        """See `GroupSchedule`; of no step before the one that `resume` began at."""
        whole = step // self._whole_every if self._whole_every else 0
        return self._named((self._steps_read(step) + whole) * self._rows)

    def rows_at(self, step: int) -> dict[str, int]:
        """See `GroupSchedule`."""
        if self._reads_all(step):
            return self._named(self._rows)
        return self._named((self._steps_read(step + 1) - self._steps_read(step)) * self._rows)

    def learn(self, step: int, shares: Mapping[str, float]) -> None:
        """Changes the shares of a step and those after it.

        Raises:
            RuntimeError: if that step is planned already.
        """
        with self._lock:
            if step < self._first + len(self._read) - 1:
                raise RuntimeError(f"step {step} is planned already, its shares cannot change")
            self._shares.append((step, self._ordered(shares)))

    def state(self, step: int) -> dict[str, Any]:
        """What `resume` needs to go on from a step, as JSON; the steps before it are forgotten."""
        with self._lock:
            read = self._steps_read(step)
            self._forget(step)
            return {
                "step": step,
                "read": read.tolist(),
                "due": self._due[0].tolist(),
                "shares": [[first, of.tolist()] for first, of in self._shares],
            }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` returned, to the last bit."""
        with self._lock:
            self._first = int(state["step"])
            self._read = [np.asarray(state["read"], np.int64)]
            self._due = [np.asarray(state["due"], np.float64)]
            self._shares = [
                (int(first), np.asarray(of, np.float64)) for first, of in state["shares"]
            ]

    def _ordered(self, values: Mapping[str, float]) -> np.ndarray:
        return np.asarray([values[name] for name in self._names], np.float64)

    def _named(self, values: np.ndarray) -> dict[str, int]:
        return dict(zip(self._names, values.tolist(), strict=True))

    def _reads_all(self, step: int) -> bool:
        return self._whole_every > 0 and (step + 1) % self._whole_every == 0

    def _steps_read(self, step: int) -> np.ndarray:
        with self._lock:
            if step < self._first:
                raise RuntimeError(f"step {step} is forgotten, the first kept is {self._first}")
            while self._first + len(self._read) <= step:
                self._plan(self._first + len(self._read) - 1)
            return self._read[step - self._first]

    def _plan(self, step: int) -> None:
        due, read = self._due[-1], self._read[-1]
        if not self._reads_all(step):
            due = due + next(of for first, of in reversed(self._shares) if first <= step)
            read = read.copy()
            read[np.argsort(read - due, kind="stable")[: self._groups_per_step]] += 1
        self._due.append(due)
        self._read.append(read)

    def _forget(self, step: int) -> None:
        # Shares of steps that are over are kept only where they still hold.
        del self._due[: step - self._first], self._read[: step - self._first]
        self._first = step
        while len(self._shares) > 1 and self._shares[1][0] <= step:
            del self._shares[0]

"""Jacobians that are hard for multi-task methods, each with what is known about it."""

from functools import cache
from typing import NamedTuple

import numpy as np


class Jacobians(NamedTuple):
    """A stack of problems with the same number of tasks.

    Attributes:
      rows: ``[N, T, P]``, float64, P = T + 4.
      names: of each of the N.
      stationary: ``[N]``, boolean; some combination with weights > 0 in every entry is zero.
      independent: ``[N]``, boolean; the rows are linearly independent and far from dependent.
    """

    rows: np.ndarray
    names: tuple[str, ...]
    stationary: np.ndarray
    independent: np.ndarray

    @property
    def gramians(self) -> np.ndarray:
        """``[N, T, T]``."""
        return self.rows @ self.rows.transpose(0, 2, 1)


@cache
def jacobians(num_tasks: int) -> Jacobians:
    """Structured and random Jacobians: the same ones at each call."""
    rng = np.random.default_rng(num_tasks)
    shape = (num_tasks, num_tasks + 4)
    cases: list[tuple[str, np.ndarray, bool]] = []

    def add(name: str, rows: np.ndarray, stationary: bool = False) -> None:
        cases.append((name, np.array(rows, np.float64), stationary))

    def unit(rows: np.ndarray) -> np.ndarray:
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    def log_uniform(decades: float) -> np.ndarray:
        return 10 ** rng.uniform(-decades, decades, (num_tasks, 1))

    one = unit(rng.normal(size=shape[1]))
    other = unit(rng.normal(size=shape[1]))
    order = np.arange(1.0, num_tasks + 1)[:, None]
    last = np.arange(num_tasks) == num_tasks - 1

    add("zero", np.zeros(shape), True)
    add("orthonormal", np.linalg.qr(rng.normal(size=shape[::-1]))[0].T)
    add(
        "orthogonal, norms 1e-6..1e6",
        np.linalg.qr(rng.normal(size=shape[::-1]))[0].T * 10 ** rng.uniform(-6, 6, (num_tasks, 1)),
    )
    add("no conflict", np.abs(rng.normal(size=shape)))
    add("identical", np.tile(one, (num_tasks, 1)))
    add("parallel", order * one)
    add("parallel, norms 1e-9..1e9", log_uniform(9) * one)
    add("nearly parallel, 1e-2", one + 1e-2 * rng.normal(size=shape))
    add("nearly parallel, 1e-4, unequal", order * (one + 1e-4 * rng.normal(size=shape)))
    add("tiny", 1e-9 * rng.normal(size=shape))
    add("huge", 1e9 * rng.normal(size=shape))
    if num_tasks > 1:
        signs = np.where(last, -1.0, 1.0)[:, None]
        add("opposite", signs * one, True)
        add("opposite, 1 to 3", np.where(signs < 0, -3, 1) * one, True)
        add("opposite, norms 1e-6..1e6", signs * log_uniform(6) * one, True)
        add("nearly opposite, 1e-2", signs * one + 1e-2 * other * (1 + 0.3 * order / num_tasks))
        add("two groups", np.where(np.arange(num_tasks)[:, None] % 2, -one + 0.3 * other, one))
        add("one zero row", np.where(last[:, None], 0, rng.normal(size=shape)))
        add("every second row zero", np.where(order % 2 == 0, 0, rng.normal(size=shape)))
        low = rng.normal(size=((num_tasks + 1) // 2, shape[1]))
        add("half the rank", rng.normal(size=(num_tasks, low.shape[0])) @ low)
        add(
            "half the rank, unequal",
            log_uniform(3) * (rng.normal(size=(num_tasks, 2)) @ low[:2])
            if num_tasks > 3
            else log_uniform(3) * np.tile(one, (num_tasks, 1)),
        )
        centred = rng.normal(size=shape)
        centred -= centred.mean(0)
        add("sums to zero", centred, True)
        add("sums to zero, unequal", centred * log_uniform(2), True)
        add("simplex", np.eye(*shape) - np.eye(num_tasks, shape[1]).mean(0), True)
        add("strong conflict", centred + 0.1 * other)
        add(
            "first against the rest",
            np.where(order == 1, -1, 1) * (one + 0.1 * rng.normal(size=shape)),
        )
        copies = rng.normal(size=shape)
        copies[-1] = copies[0]
        add("one row twice", copies)
        copies = rng.normal(size=shape)
        copies[-1] = -0.5 * copies[0]
        add("one row and its opposite", copies, num_tasks == 2)
        mixed = rng.normal(size=shape) * log_uniform(3)
        mixed[num_tasks // 2] = 0
        mixed[-1] = 2 * mixed[0]
        add("mixed", mixed)
    for index in range(6):
        add(f"normal {index}", rng.normal(size=shape))
        add(f"unequal {index}", rng.normal(size=shape) * log_uniform(1.5))
        add(f"norms 1e-9..1e9 {index}", rng.normal(size=shape) * log_uniform(9))
        # A common part against which the rows lie: most pairs conflict.
        pushed = rng.normal(size=shape)
        pushed -= 0.97 * pushed.mean(0)
        add(f"conflict {index}", pushed * log_uniform(1))

    rows = np.stack([case[1] for case in cases])
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    units = rows / np.where(norms > 0, norms, 1)
    smallest = np.linalg.svd(units, compute_uv=False)[:, -1]
    return Jacobians(
        rows,
        tuple(case[0] for case in cases),
        np.array([case[2] for case in cases]),
        smallest > 1e-3,
    )

"""All hard problems at one of two numbers of tasks, for which a method is compiled once."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np

from mtljax.weighting import Weighting
from tests.weighting.jacobians import jacobians

NUMBERS_OF_TASKS = ((1, 2, 3, 5, 10), (20, 50))


class Problem(NamedTuple):
    """``rows [T, P]`` float64, its name, and whether a w > 0 makes the direction zero."""

    rows: np.ndarray
    name: str
    stationary: bool


@cache
def problems(numbers: tuple[int, ...]) -> tuple[Problem, ...]:
    """All hard problems with these numbers of tasks; of the largest, which cost most, a third."""
    return tuple(
        Problem(rows, f"{name}, T={number}", bool(stationary))
        for number in numbers
        for rows, name, stationary in [*zip(*jacobians(number)[:3], strict=True)][
            :: 3 if number == 50 else 1
        ]
    )


def answers(
    method: Weighting | Callable[..., Weighting],
    gramians: Sequence[Any],
    dtype: str = "float32",
    losses: Any = 1.0,
    options: tuple[float, ...] = (),
    size: int | None = None,
    row_scale: Any = 1.0,
    mask: Any = True,
) -> list[np.ndarray]:
    """The weights ``[T]`` for each Gramian from a fresh state, by one program for all.

    All have `size` tasks, of which the last ones are absent, whose weights must be 0: by default 10
    of them, or 50, so that tests share their programs. With `options`, `method` makes the weighting
    of them, and all of them share the compiled program.
    """
    gramians = [np.asarray(gramian, float) for gramian in gramians]
    largest = max(len(gramian) for gramian in gramians)
    size = size or (10 if largest <= 10 else 50)
    made = method if isinstance(method, Weighting) else method(*options)
    needs_matrix = "gramian" in made.requires
    found = []
    with jax.enable_x64(dtype == "float64"):
        state, update = made.init(size), updates(method)
        for gramian in gramians:
            tasks = len(gramian)
            signals = {"gramian": np.zeros((size, size), dtype)}
            signals["gramian"][:tasks, :tasks] = gramian
            if not needs_matrix:
                signals = {"gramian_diagonal": np.diagonal(signals["gramian"]).copy()}
            values, scale, present = (
                np.ones(size, dtype),
                np.ones(size, dtype),
                np.zeros(size, bool),
            )
            values[:tasks], scale[:tasks], present[:tasks] = losses, row_scale, mask
            row = np.asarray(update(options, values, state, present, scale, signals)[0])
            assert row.dtype == dtype and np.isfinite(row).all() and (row[~present] == 0).all()
            found.append(row[:tasks].astype(float))
    return found


def walks(
    method: Weighting, steps: Sequence[np.ndarray], dtype: str, size: int
) -> list[tuple[np.ndarray, Any]]:
    """Weights ``[N, T]`` and states after each of several steps of N problems.

    Steps are Gramians ``[N, T, T]``; states are those of `size` tasks, the last ones absent.
    """
    count, tasks = steps[0].shape[:2]
    found = []
    with jax.enable_x64(dtype == "float64"):
        states, update = [method.init(size)] * count, updates(method)
        ones, present = np.ones(size, dtype), np.arange(size) < tasks
        for gramians in steps:
            padded = np.zeros((count, size, size), dtype)
            padded[:, :tasks, :tasks] = gramians
            pairs = [
                update((), ones, state, present, ones, {"gramian": gramian})
                for state, gramian in zip(states, padded, strict=True)
            ]
            rows, states = np.stack([pair[0] for pair in pairs]), [pair[1] for pair in pairs]
            assert rows.dtype == dtype and np.isfinite(rows).all() and (rows[:, tasks:] == 0).all()
            found.append((rows[:, :tasks], jax.tree.map(lambda *leaves: np.stack(leaves), *states)))
    return found


@cache
def updates(method: Weighting | Callable[..., Weighting]) -> Callable[..., Any]:
    """``(options, losses, state, mask, row_scale, signals) -> (weights, state)``, compiled."""

    def update(options: Any, losses: Any, state: Any, mask: Any, scale: Any, signals: Any) -> Any:
        made = method if isinstance(method, Weighting) else method(*options)
        return made.update(losses, state, mask=mask, row_scale=scale, **signals)

    return jax.jit(update)


def weights(
    method: Weighting | Callable[..., Weighting],
    cases: Sequence[Problem],
    dtype: str,
    losses: float = 1.0,
    options: tuple[float, ...] = (),
    size: int | None = None,
) -> list[np.ndarray]:
    """The weights ``[T]`` for each problem; see `answers`."""
    gramians = [case.rows @ case.rows.T for case in cases]
    return answers(method, gramians, dtype, losses, options, size)


def unit(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows and norms; a zero row stays."""
    norms = np.linalg.norm(rows, axis=1)
    return rows / np.where(norms > 0, norms, 1)[:, None], norms


def conflict(rows: np.ndarray, found: np.ndarray) -> float:
    """The worst ``<u_i, d>``, relative to the lengths that were summed."""
    units, norms = unit(rows)
    summed = np.abs(found) @ norms
    return float(min(units @ (rows.T @ found)) / summed) if summed else 0.0

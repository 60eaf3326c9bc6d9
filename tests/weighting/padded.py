"""All hard problems in two batches, so that a method compiles twice for all numbers of tasks."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
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
    method: Weighting, gramians: Sequence[Any], dtype: str = "float32", losses: float = 1.0
) -> list[np.ndarray]:
    """The weights ``[T]`` for each Gramian from a fresh state, compiled once for all.

    Gramians of fewer tasks than the largest one get absent tasks, whose weights must be 0.
    """
    gramians = [np.asarray(gramian, float) for gramian in gramians]
    size = max(len(gramian) for gramian in gramians)
    padded = np.zeros((len(gramians), size, size))
    mask = np.zeros((len(gramians), size), bool)
    for index, gramian in enumerate(gramians):
        padded[index, : len(gramian), : len(gramian)] = gramian
        mask[index, : len(gramian)] = True
    with jax.enable_x64(dtype == "float64"):
        state = method.init(size)

        def update(problem):
            gramian, present = problem
            signals = {"gramian": gramian, "gramian_diagonal": jnp.diagonal(gramian)}
            signals = {name: signals[name] for name in method.requires - {"losses"}}
            constant = jnp.full(size, losses, gramian.dtype)
            return method.update(constant, state, mask=present, **signals)[0]

        # One after the other: that compiles in a third of the time of a vmap.
        batch = jnp.asarray(padded, dtype), jnp.asarray(mask)
        found = np.asarray(jax.jit(lambda problems: jax.lax.map(update, problems))(batch))
    assert found.dtype == dtype and np.isfinite(found).all()
    assert (found[~mask] == 0).all()
    return [row[: len(g)].astype(float) for row, g in zip(found, gramians, strict=True)]


def weights(
    method: Weighting, cases: Sequence[Problem], dtype: str, losses: float = 1.0
) -> list[np.ndarray]:
    """The weights ``[T]`` for each problem."""
    return answers(method, [case.rows @ case.rows.T for case in cases], dtype, losses)


def unit(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows and norms; a zero row stays."""
    norms = np.linalg.norm(rows, axis=1)
    return rows / np.where(norms > 0, norms, 1)[:, None], norms


def conflict(rows: np.ndarray, found: np.ndarray) -> float:
    """The worst ``<u_i, d>``, relative to the lengths that were summed."""
    units, norms = unit(rows)
    summed = np.abs(found) @ norms
    return float(min(units @ (rows.T @ found)) / summed) if summed else 0.0

"""All hard problems in two batches, so that a method compiles twice for all numbers of tasks."""

from collections.abc import Callable, Sequence
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
    method: Weighting | Callable[..., Weighting],
    gramians: Sequence[Any],
    dtype: str = "float32",
    losses: float = 1.0,
    options: tuple[float, ...] = (),
) -> list[np.ndarray]:
    """The weights ``[T]`` for each Gramian from a fresh state, compiled once for all.

    Gramians of fewer tasks than the largest one get absent tasks, whose weights must be 0. With
    `options`, `method` makes the weighting of them, and all of them share the compiled program.
    """
    gramians = [np.asarray(gramian, float) for gramian in gramians]
    size = max(len(gramian) for gramian in gramians)
    padded = np.zeros((len(gramians), size, size))
    mask = np.zeros((len(gramians), size), bool)
    for index, gramian in enumerate(gramians):
        padded[index, : len(gramian), : len(gramian)] = gramian
        mask[index, : len(gramian)] = True
    with jax.enable_x64(dtype == "float64"):
        batch = jnp.asarray(padded, dtype), jnp.asarray(mask)
        found = np.asarray(_compiled(method, size, losses)(batch, *options))
    assert found.dtype == dtype and np.isfinite(found).all()
    assert (found[~mask] == 0).all()
    return [row[: len(g)].astype(float) for row, g in zip(found, gramians, strict=True)]


@cache
def _compiled(method: Weighting | Callable[..., Weighting], size: int, losses: float) -> Any:
    def run(problems: Any, *options: Any) -> jax.Array:
        made = method if isinstance(method, Weighting) else method(*options)
        state = made.init(size)

        def update(problem: Any) -> jax.Array:
            gramian, present = problem
            signals = {"gramian": gramian, "gramian_diagonal": jnp.diagonal(gramian)}
            signals = {name: signals[name] for name in made.requires - {"losses"}}
            constant = jnp.full(size, losses, gramian.dtype)
            return made.update(constant, state, mask=present, **signals)[0]

        # One after the other: that compiles in a third of the time of a vmap.
        return jax.lax.map(update, problems)

    return jax.jit(run)


def weights(
    method: Weighting | Callable[..., Weighting],
    cases: Sequence[Problem],
    dtype: str,
    losses: float = 1.0,
    options: tuple[float, ...] = (),
) -> list[np.ndarray]:
    """The weights ``[T]`` for each problem; see `answers`."""
    gramians = [case.rows @ case.rows.T for case in cases]
    return answers(method, gramians, dtype, losses, options)


def unit(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows and norms; a zero row stays."""
    norms = np.linalg.norm(rows, axis=1)
    return rows / np.where(norms > 0, norms, 1)[:, None], norms


def conflict(rows: np.ndarray, found: np.ndarray) -> float:
    """The worst ``<u_i, d>``, relative to the lengths that were summed."""
    units, norms = unit(rows)
    summed = np.abs(found) @ norms
    return float(min(units @ (rows.T @ found)) / summed) if summed else 0.0

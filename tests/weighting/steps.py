"""Several steps of a weighting, and NumPy counterparts of what its formulas are made of."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np

from mtljax.weighting import Weighting


def steps(
    method: Weighting,
    losses: Any,
    state: Any = None,
    *,
    dtype: str = "float64",
    mask: Any = None,
    **signals: Any,
) -> tuple[np.ndarray, Any]:
    """Weights ``[S, T]`` of S steps in a row, by one compiled update, and the last state.

    `losses` is ``[S, T]``; `mask` and the signals have the same leading axis.
    """
    with jax.enable_x64(dtype == "float64"):
        rows = np.asarray(losses, dtype)
        here = np.ones(rows.shape, bool) if mask is None else np.asarray(mask)
        given = {name: np.asarray(value, dtype) for name, value in signals.items()}
        state = method.init(rows.shape[1]) if state is None else state
        weights = []
        for at, row in enumerate(rows):
            each = {name: value[at] for name, value in given.items()}
            found, state = _compiled(method)(row, state, here[at], each)
            assert found.dtype == dtype
            weights.append(found)
        return np.stack(weights), jax.tree.map(np.asarray, state)


@cache
def _compiled(method: Weighting) -> Callable[..., Any]:
    return jax.jit(
        lambda losses, state, mask, signals: method.update(losses, state, mask=mask, **signals)
    )


def derivative(f: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    """Central differences ``[T]``, good to about 1e-9 of the size of f."""
    x = np.asarray(x, float)
    found = np.empty_like(x)
    for i, size in enumerate(np.maximum(np.abs(x), 1e-3) * 1e-5):
        shift = np.zeros_like(x)
        shift[i] = size
        found[i] = (f(x + shift) - f(x - shift)) / (2 * size)
    return found


def softmax(x: np.ndarray) -> np.ndarray:
    shares = np.exp(x - np.max(x))
    return shares / shares.sum()


class Adam:
    """Kingma and Ba's algorithm 1."""

    def __init__(self, lr: float) -> None:
        self.lr, self.mean, self.square, self.time = lr, 0.0, 0.0, 0

    def step(self, gradient: np.ndarray) -> np.ndarray:
        self.time += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.999 * self.square + 0.001 * gradient**2
        mean = self.mean / (1 - 0.9**self.time)
        square = self.square / (1 - 0.999**self.time)
        return -self.lr * mean / (np.sqrt(square) + 1e-8)


def assert_trees_equal(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)

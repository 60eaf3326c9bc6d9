"""Checks that factories make of their arguments."""

import math
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike


def check_positive(name: str, value: ArrayLike) -> None:
    """Raises ValueError unless a scalar is positive and finite.

    A traced value passes: `optax.inject_hyperparams` calls factories under jit.
    """
    if isinstance(value, Tracer):
        return
    if jnp.ndim(value) or not 0 < float(value) < math.inf:  # pyright: ignore[reportArgumentType]
        raise ValueError(f"{name} must be a positive finite number, got {value}")


def check_range(name: str, value: ArrayLike, low: float, high: float, *, ends: str = "[]") -> None:
    """Raises ValueError unless a scalar lies between `low` and `high`.

    `ends` says which ends belong to the interval: ``"[]"``, ``"[)"``, ``"(]"`` or ``"()"``. A
    traced value passes.
    """
    if isinstance(value, Tracer):
        return
    number = math.nan if jnp.ndim(value) else float(value)  # pyright: ignore[reportArgumentType]
    above = number >= low if ends[0] == "[" else number > low
    below = number <= high if ends[1] == "]" else number < high
    if not (above and below and math.isfinite(number)):
        raise ValueError(f"{name} must be in {ends[0]}{low:g}, {high:g}{ends[1]}, got {value}")


def check_count(name: str, value: int, minimum: int = 1) -> int:
    """Returns an integer; TypeError if it is none, ValueError if it is below `minimum`."""
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError as error:
        raise TypeError(f"{name} must be an integer, got {value!r}") from error
    if number < minimum:
        raise ValueError(f"{name} must be {minimum} or more, got {value}")
    return number


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_each(name: str, value: float | Sequence[float] | np.ndarray | jax.Array) -> np.ndarray:
    """Returns a number or a vector of numbers as float64 ``[]`` or ``[T]``.

    Raises:
      TypeError: not numbers.
      ValueError: more than one axis, no number, or not finite.
    """
    try:
        numbers = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a number or a sequence of them, got {value!r}") from error
    if numbers.ndim > 1 or not numbers.size or not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be finite, one number or one a task, got {value!r}")
    return numbers


def each(name: str, numbers: np.ndarray, num_tasks: int) -> np.ndarray:
    """Returns numbers of `check_each` as ``[T]``; ValueError for a vector of another length."""
    if numbers.ndim and numbers.size != num_tasks:
        raise ValueError(f"{name}: {numbers.size} given for {num_tasks} tasks")
    return np.broadcast_to(numbers, (num_tasks,))

"""Options that are one number for all tasks, or one for each."""

from collections.abc import Sequence

import numpy as np


def check_each(name: str, value: float | Sequence[float] | np.ndarray) -> np.ndarray:
    """Returns a number or a vector of numbers as float64 ``[]`` or ``[T]``.

    Raises:
      TypeError: not numbers.
      ValueError: more than one axis, no number, or not finite.
    """
    try:
        given = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a number or a sequence of them, got {value!r}") from error
    if given.ndim > 1 or not given.size or not np.isfinite(given).all():
        raise ValueError(f"{name} must be finite, one number or one a task, got {value!r}")
    return given


def each(name: str, given: np.ndarray, num_tasks: int) -> np.ndarray:
    """Returns ``[T]``; ValueError if a vector of another length was given."""
    if given.ndim and given.size != num_tasks:
        raise ValueError(f"{name}: {given.size} given for {num_tasks} tasks")
    return np.broadcast_to(given, (num_tasks,))

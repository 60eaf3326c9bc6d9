"""Ranges of numeric configuration fields, stated next to the field and checked in one place.

A field's range is part of its definition:

>>> @dataclasses.dataclass(frozen=True)
... class Settings:
...     steps: int = at_least(1, default=2000)
...     dropout: float = fraction(default=0.0)
>>> check_ranges(Settings(steps=0))
Traceback (most recent call last):
mtljax.errors.UserError: steps: must be at least 1, got 0
"""

import dataclasses
import math
from typing import Any, NamedTuple, TypeVar

from mtljax.errors import UserError

T = TypeVar("T")
_KEY = "mtljax.range"


class Range(NamedTuple):
    """The numbers that a field may have: finite, and between two bounds.

    Attributes:
      low: the lower bound.
      high: the upper bound.
      low_open: whether the lower bound itself is excluded.
      high_open: whether the upper bound itself is excluded.
    """

    low: float
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def problem(self, value: float) -> str:
        """What is wrong with a value, as in "must be at least 1"; empty if nothing is."""
        if isinstance(value, float) and not math.isfinite(value):
            return "must be finite"
        below = value < self.low or (self.low_open and value == self.low)
        above = value > self.high or (self.high_open and value == self.high)
        if not (below or above):
            return ""
        if self == _FRACTION:
            return "must be in [0, 1)"
        if above:
            return f"must be {'less than' if self.high_open else 'at most'} {_shown(self.high)}"
        if self.low_open:
            return "must be positive" if self.low == 0 else f"must be greater than {self.low}"
        return f"must be at least {self.low}"


_FRACTION = Range(0, 1, high_open=True)


def bounded(
    *,
    default: T,
    low: float,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
) -> T:
    """A dataclass field of one or several numbers, each of which lies between two bounds.

    Args:
      default: the default of the field: a number, or a tuple of them.
      low: the lower bound.
      high: the upper bound.
      low_open: whether the lower bound itself is excluded.
      high_open: whether the upper bound itself is excluded.

    Returns:
      What `dataclasses.field` returns, typed as the field is.
    """
    return dataclasses.field(
        default=default, metadata={_KEY: Range(low, high, low_open, high_open)}
    )


def at_least(low: float, *, default: T) -> T:
    """A dataclass field of numbers of at least ``low``."""
    return bounded(default=default, low=low)


def size(low: int, *, default: T, high: int = 2**20) -> T:
    """A dataclass field of a size of which something is built: from ``low`` to ``high``.

    The upper bound is beyond what anyone builds, so that a slip of digits is answered at once
    instead of when memory is exhausted.
    """
    return bounded(default=default, low=low, high=high)


def positive(*, default: T) -> T:
    """A dataclass field of numbers above 0."""
    return bounded(default=default, low=0, low_open=True)


def fraction(*, default: T) -> T:
    """A dataclass field of a probability, rate of decay or the like, in ``[0, 1)``."""
    return dataclasses.field(default=default, metadata={_KEY: _FRACTION})


def range_of(field: dataclasses.Field[Any]) -> Range | None:
    """The range that a field was defined with, None if it was defined without."""
    return field.metadata.get(_KEY)


def check_ranges(config: Any, prefix: str = "") -> None:
    """Check the numbers of a nested configuration.

    Args:
      config: a dataclass, whose fields may be dataclasses.
      prefix: what stands before the names of its fields in messages, such as 'encoder.'.

    Raises:
      UserError: naming the first field that is out of its range, and its value.
    """
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            check_ranges(value, f"{name}.")
        elif (allowed := range_of(field)) is not None:
            for number in value if isinstance(value, tuple) else (value,):
                if problem := allowed.problem(number):
                    raise UserError(f"{name}: {problem}, got {number}")


def _shown(bound: float) -> str:
    power = math.log2(bound) if bound > 1024 else 0.5
    return f"2^{power:.0f}" if power.is_integer() else f"{bound}"

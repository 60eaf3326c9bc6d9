"""Conversion of labels of a data set to class numbers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Classes(NamedTuple):
    """The classes of a task.

    Attributes:
        names: of all classes, in order.
        index: the number of each name.
    """

    names: Sequence[str]
    index: Mapping[str, int]


def indexed(names: Sequence[str]) -> Classes:
    """Classes of these names."""
    return Classes(names, {name: i for i, name in enumerate(names)})


def is_missing(value: Any) -> bool:
    """Whether a target is absent: None, an empty text, NaN, infinite or the label -1."""
    if value is None:
        return True
    if isinstance(value, str):
        return not value
    return not math.isfinite(value) or value == -1


def as_class(value: Any, classes: Classes) -> int:
    """The class of a target, -1 where it is absent.

    Args:
        value: a class number, or the name of a class.
        classes: all classes.

    Raises:
        ValueError: with the reason, for a value that is no class.
    """
    if is_missing(value):
        return -1
    if isinstance(value, str):
        if value not in classes.index:
            raise ValueError(f"label {value!r} does not occur in train")
        return classes.index[value]
    number = int(value)
    if number != value or not 0 <= number < len(classes.names):
        raise ValueError(f"label {value!r} is not in 0..{len(classes.names) - 1}")
    return number

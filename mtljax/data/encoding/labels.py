"""Labels as a data set gives them, and the classes they stand for."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def is_missing(value: Any) -> bool:
    """Whether a target is absent: None, an empty text, NaN, infinite or the label -1."""
    if value is None:
        return True
    if isinstance(value, str):
        return not value
    return not math.isfinite(value) or value == -1


def as_class(value: Any, classes: Sequence[str], index: Mapping[str, int]) -> int:
    """The class of a target, -1 where it is absent.

    Args:
        value: a class number, or its name.
        classes: names of all classes.
        index: the class of each name.

    Raises:
        ValueError: saying what is wrong with a value that is no class.
    """
    if is_missing(value):
        return -1
    if isinstance(value, str):
        if value not in index:
            raise ValueError(f"label {value!r} does not occur in train")
        return index[value]
    number = int(value)
    if number != value or not 0 <= number < len(classes):
        raise ValueError(f"label {value!r} is not in 0..{len(classes) - 1}")
    return number

"""Values that JSON can hold."""

import math
from collections.abc import Mapping
from typing import Any


def nan_to_none(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have, by None, at any depth.

    Args:
      value: of mappings, lists, tuples, texts and numbers.

    Returns:
      The same of dicts and lists.

    >>> nan_to_none({"loss": (0.5, float("nan"))})
    {'loss': [0.5, None]}
    """
    if isinstance(value, Mapping):
        return {name: nan_to_none(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plain_values(value: Any) -> Any:
    """A value of named tuples, dicts and lists, nested, as dicts and lists.

    >>> from typing import NamedTuple
    >>> class Point(NamedTuple):
    ...     x: int
    >>> plain_values({"at": [Point(1)], "also": (2, 3)})
    {'at': [{'x': 1}], 'also': [2, 3]}
    """
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain_values(part) for name, part in value._asdict().items()}  # pyright: ignore
    if isinstance(value, dict):
        return {name: plain_values(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(part) for part in value]
    return value

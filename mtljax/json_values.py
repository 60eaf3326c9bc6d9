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

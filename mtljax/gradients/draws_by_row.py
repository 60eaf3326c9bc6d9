"""Encoders whose random numbers do not depend on which rows are encoded together."""

import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class DrawsByRow:
    """Marks an encoder that draws random numbers row by row, from numbers among its inputs.

    Such encoders get one key, the same for all input groups: one pass over all groups, a pass a
    group, and passes on many devices draw the same.

    Attributes:
      encode: ``(shared, inputs[, key]) -> features``.
    """

    encode: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        """Calls `encode`."""
        return self.encode(*arguments)

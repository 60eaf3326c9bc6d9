"""The batches that some weightings read next to the training batch."""

from typing import Any, NamedTuple


class Extra(NamedTuple):
    """The extra batches of a step; None where the weighting reads none.

    Attributes:
      second: another training batch, independent of the first.
      validation: a batch of the validation split.
    """

    second: Any = None
    validation: Any = None


SECOND_BATCH = frozenset({"cross_gramian"})
"""Signals that are computed with a second training batch."""

VALIDATION_BATCH = frozenset({"validation_losses", "validation_gradients", "validation_grads"})
"""Signals that are computed with a batch of the validation split."""

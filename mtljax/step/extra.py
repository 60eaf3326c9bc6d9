"""The batches that some weightings read next to the training batch."""

from typing import Any, NamedTuple


class Extra(NamedTuple):
    """Further batches of a step; None where the method reads none.

    Attributes:
      second: another training batch, independent of the first.
      validation: a batch of the validation split.
      half: a half of the training batch, from which the noise of its gradients is measured, see
        `StepMetrics.noise`.
    """

    second: Any = None
    validation: Any = None
    half: Any = None


NO_EXTRA = Extra()
"""For methods that read the training batch alone."""

SECOND_BATCH = frozenset({"cross_gramian"})
"""Signals that are computed from a second training batch."""

VALIDATION_BATCH = frozenset({"validation_losses", "validation_gradients", "validation_grads"})
"""Signals that are computed from a validation batch."""

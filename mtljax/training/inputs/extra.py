"""What a step reads besides its training batch."""

from typing import Any, NamedTuple


class Extra(NamedTuple):
    """Step batches besides the training batch; None where the weighting reads none.

    Attributes:
      second: another training batch, independent of the first.
      validation: a batch of the validation split.
    """

    second: Any = None
    validation: Any = None


SECOND_BATCH = frozenset({"cross_gramian"})
VALIDATION_BATCH = frozenset({"validation_losses", "validation_gradients", "validation_grads"})

"""Which steps of a run are traced by the profiler."""

import dataclasses

from mtljax.errors import UserError
from mtljax.ranges import check_ranges, size

_STEPS = 5


@dataclasses.dataclass(frozen=True)
class ProfileWindow:
    """Steps that are traced, into the directory `profile` of the run, for xprof and TensorBoard.

    Attributes:
      start: the first step that is traced, counted from 1; 0 for none.
      steps: how many are traced.
    """

    start: int = size(0, default=0, high=2**31 - 1)
    steps: int = size(1, default=_STEPS, high=2**31 - 1)

    @property
    def last(self) -> int:
        """The last step that is traced."""
        return self.start + self.steps - 1


NO_PROFILE = ProfileWindow()
"""No step is traced."""


def check_window(window: ProfileWindow, steps: int | None) -> None:
    """Check that a run has the steps that are to be traced.

    Args:
      window: of the steps.
      steps: of the whole run; None where they are not known yet.

    Raises:
      UserError: if it has not.
    """
    check_ranges(window, "profile.")
    if window.start == 0:
        if window.steps != _STEPS:
            raise UserError("profile.steps: needs profile.start, the first of them")
        return
    if steps is not None and window.last > steps:
        raise UserError(
            f"profile.start: steps {window.start} to {window.last} were to be traced, and the last "
            f"step of the run is {steps}"
        )

"""How the devices share a step: its rows, its tasks, its parameters."""

from typing import NamedTuple

from mtljax.parallel.fsdp_gather import FsdpShardings
from mtljax.parallel.placement import TaskPlacement
from mtljax.parallel.split import ALL_ROWS, Split


class DeviceLayout(NamedTuple):
    """How devices share a step, as a model's objectives read it; by default, one program has all.

    Attributes:
      split: how the rows of a batch are split, as the program of one device sees them.
      placement: which groups of devices work on which tasks; None if all work on all tasks.
      fsdp: the shardings of shared parameters that are all-gathered at use; None to leave that to
        XLA.
      passes: whether input groups are encoded in one pass where that is possible, see
        `mtljax.step.passes`.
    """

    split: Split = ALL_ROWS
    placement: TaskPlacement | None = None
    fsdp: FsdpShardings | None = None
    passes: str = "auto"


ONE_PROGRAM = DeviceLayout()
"""The layout of one program that has all rows, tasks and parameters."""

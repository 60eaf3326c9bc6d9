"""How the devices share a step: its rows, its tasks, its parameters."""

from typing import NamedTuple

from mtljax.parallel.fsdp_gather import FsdpShardings
from mtljax.parallel.placement import TaskPlacement
from mtljax.parallel.split import ALL_ROWS, Split


class DeviceLayout(NamedTuple):
    """What a model's objectives have to know of the devices; by default one program sees all.

    Attributes:
      split: how the rows of a batch are split, as the program of one device sees them.
      placement: the tasks that groups of devices work on, None where all work on all.
      fsdp: shardings of the shared parameters, which are gathered at use; None to leave that to
        XLA.
    """

    split: Split = ALL_ROWS
    placement: TaskPlacement | None = None
    fsdp: FsdpShardings | None = None


ONE_PROGRAM = DeviceLayout()
"""One program sees all rows, tasks and parameters."""

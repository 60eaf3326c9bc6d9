"""The type `Schedule`: two pure functions, and the signals that they require."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

Array = jax.Array | np.ndarray
"""An array of either library."""

SIGNALS: Mapping[str, int] = MappingProxyType(
    {
        "losses": 1,
        "gramian": 2,
        "gramian_diagonal": 1,
        "variances": 1,
        "validation_losses": 1,
        "validation_gradients": 2,
    }
)
"""The signals of K groups, with the number of group axes of each.

- ``losses [K]``: training losses, each of batches of its own group.
- ``gramian [K, K]``: inner products of the gradients of the groups' losses.
- ``gramian_diagonal [K]``: their squared norms alone, without what noise adds to them if it is
  known.
- ``variances [K]``: the variance of one sample's gradient, summed over the parameters, divided by
  the number of samples in a step's whole batch.
- ``validation_losses [K]``: losses on validation.
- ``validation_gradients [K, K]``: products of validation (rows) with training gradients.
"""


class ScheduleState(NamedTuple):
    """What a schedule keeps from one update to the next: a tree of arrays.

    Attributes:
      rates: ``[K]``, those in force.
      own: what the method itself keeps.
    """

    rates: Any
    own: Any = ()


class InitFn(Protocol):
    """Makes the state of a schedule."""

    def __call__(self, num_groups: int, rates: Sequence[float] | None = None) -> ScheduleState:
        """Returns NumPy arrays; `rates` are those to begin with, equal ones by default.

        Raises:
          ValueError: fewer than two groups; rates that are negative, not finite or all 0.
        """
        ...


class UpdateFn(Protocol):
    """Turns the signals since the last update into rates."""

    def __call__(
        self, signals: Mapping[str, Any], state: ScheduleState, *, mask: Any = None
    ) -> tuple[Any, ScheduleState]:
        """Returns rates ``[K]`` and the new state.

        `mask` ``[K]``, boolean, is false for a group that is absent: without a signal. Signals that
        the schedule does not require are ignored.

        Raises:
          ValueError: a signal is missing or of a wrong shape.
        """
        ...


class Schedule(NamedTuple):
    """Rates that are learned: two pure functions and what they need.

    Attributes:
      init: ``(num_groups, rates=None) -> state``.
      update: ``(signals, state, *, mask=None) -> (rates, state)``. Works under jit and vmap.
      requires: the names out of `SIGNALS` that `update` reads.
    """

    init: InitFn
    update: UpdateFn
    requires: frozenset[str]

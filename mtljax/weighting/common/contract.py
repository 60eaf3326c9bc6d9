"""The type `Weighting`: two pure functions, and the signals that they require."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import jax

SIGNALS: Mapping[str, int] = MappingProxyType(
    {
        "losses": 1,
        "gramian": 2,
        "gramian_diagonal": 1,
        "losses_after": 1,
        "validation_losses": 1,
        "validation_gradients": 2,
        "cross_gramian": 2,
    }
)
"""The signals an engine can supply, with the number of task axes of each.

- ``losses [T]``: of this step's batch.
- ``gramian [T, T]``: inner products of the per-task gradients.
- ``gramian_diagonal [T]``: their squared norms only, which is cheaper.
- ``losses_after [T]``: the same batch and random keys after the step.
- ``validation_losses [T]``: of a validation batch.
- ``validation_gradients [T, T]``: products of validation (rows) with training gradients.
- ``cross_gramian [T, T]``: products of the gradients of two independent batches.
"""


class InitFn(Protocol):
    """Makes the state of a weighting."""

    def __call__(self, num_tasks: int) -> Any:
        """Returns a tree of arrays; ValueError if `num_tasks` does not suit the method."""
        ...


class UpdateFn(Protocol):
    """Turns one step's signals into weights."""

    def __call__(
        self,
        losses: jax.Array,
        state: Any,
        *,
        gramian: jax.Array | None = None,
        mask: jax.Array | None = None,
        row_scale: jax.Array | None = None,
        **signals: jax.Array,
    ) -> tuple[jax.Array, Any]:
        """Returns weights ``[T]`` and the new state.

        `losses` is ``[T]``; `mask` ``[T]``, boolean, is false for an absent task, which gets
        weight 0 and keeps its state. With `row_scale` ``[T]``, `gramian` and `gramian_diagonal`
        are those of the gradients each divided by its entry, for gradients whose squares would
        overflow or underflow; the weights are those of the gradients themselves. The
        direction ``sum_i w_i g_i`` is *subtracted* from the parameters.
        """
        ...


class Weighting(NamedTuple):
    """A multi-objective method: two pure functions and what they need.

    Attributes:
      init: ``(num_tasks) -> state``, a tree of arrays, to be checkpointed with the optimizer.
      update: ``(losses, state, *, gramian=None, mask=None, **signals) -> (weights, state)``.
        Works under jit and vmap.
      requires: the names out of `SIGNALS` that `update` reads. A weighting that reads only
        ``losses`` costs one backward pass of the weighted sum.
      ahead: whether the weights are known before the losses of the step: these change the state
        alone. A number that is not finite still has the weights changed.
    """

    init: InitFn
    update: UpdateFn
    requires: frozenset[str]
    ahead: bool = False

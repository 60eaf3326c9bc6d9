"""DoReMi: rates by how much worse a group's loss is than a reference reached."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtljax.mixtures.contract import Schedule
from mtljax.mixtures.guard import guard
from mtljax.mixtures.rates import namespace, tilted


def doremi(
    reference_losses: Sequence[float], *, step_size: float = 1.0, floor: float = 0.1
) -> Schedule:
    r"""DoReMi: more of the groups whose losses are above those of a reference.

    Algorithm 1 of Xie et al., "DoReMi: Optimizing Data Mixtures Speeds Up Language Model
    Pretraining", NeurIPS 2023,

    .. math::
        q_k \propto p_k \exp(\eta \max(0, L_k - L^{ref}_k)), \quad
        p_k \leftarrow (1 - c) q_k + c / K

    A group that is noise has a reference loss as high as its loss, and is not read more for it. The
    paper clips excess losses token by token and takes the mean of the rates over a small run for
    the large one; here they are those of groups, and act at once.

    Args:
      reference_losses: ``[K]``, what a model reached that was trained at fixed rates.
      step_size: `eta`.
      floor: `c`, which is moved towards equal rates at each update.

    Raises:
      ValueError: for a floor outside (0, 1], or reference losses that are not finite; in `init` and
        `update` for another number of groups.

    >>> schedule = doremi([1.0, 2.0], floor=0.01)
    >>> rates, _ = schedule.update({"losses": np.array([2.0, 1.5])}, schedule.init(2))
    >>> rates.round(3).tolist()
    [0.729, 0.271]
    """
    reference = np.array(reference_losses, np.float64)
    if reference.ndim != 1 or not np.isfinite(reference).all():
        raise ValueError(f"reference_losses must be finite, one a group, got {reference_losses}")

    def init(num_groups: int, rates: np.ndarray) -> tuple[()]:
        if reference.size != num_groups:
            raise ValueError(f"reference_losses: {reference.size} given for {num_groups} groups")
        return ()

    def update(signals: Any, rates: Any, own: Any, mask: Any) -> tuple[Any, Any]:
        xp = namespace(rates)
        losses = signals["losses"]
        excess = xp.maximum(0, losses - xp.asarray(reference, losses.dtype))
        learned = tilted(rates, xp.where(mask, step_size * excess, 0))
        return (1 - floor) * learned + floor / rates.shape[0], own

    return guard(update, requires=("losses",), floor=floor, init=init)

"""Successive elimination: groups whose gradients cost the target are given up one by one."""

import math
from typing import Any, NamedTuple

import numpy as np

from mtljax.mixtures.contract import Schedule
from mtljax.mixtures.guard import guard
from mtljax.mixtures.rates import namespace


class EliminationState(NamedTuple):
    """What `elimination` keeps, each ``[K]``.

    Attributes:
      first: the rates that the schedule began with.
      active: false for groups that were given up.
      count: updates in which a group had a cosine.
      mean: mean of its cosines with the target's gradient.
      spread: sum of their squared differences from the mean.
    """

    first: Any
    active: Any
    count: Any
    mean: Any
    spread: Any


def elimination(
    *,
    target: int | None = None,
    error: float = 0.1,
    margin: float = 0.0,
    least: int = 5,
    floor: float = 0.1,
) -> Schedule:
    r"""Gives up groups whose gradients point away from the target's, for good.

    Successive elimination (Even-Dar, Mannor and Mansour, "Action Elimination and Stopping
    Conditions for the Multi-Armed Bandit and Reinforcement Learning Problems", JMLR 2006) of groups
    that cost the target. Each update measures the cosine of every group's gradient with the
    target's, the effect of a step on the group on the target's loss to first order and up to scale.
    A group is given up when the mean `m` of its `n` cosines is below the margin by more than chance
    makes it,

    .. math:: m + \sqrt{2 v \log(\pi^2 K n^2 / (6 \delta)) / n} < \text{margin}

    with `v` their variance: with a normal approximation, the chance that any group that helps is
    ever given up is at most :math:`\delta`. One group is given up at a time, the one with the
    lowest mean; where the target is all groups, the cosines of the others begin anew. Groups that
    are given up have the floor's rate, the others the proportions that they began with. The target
    is never given up, nor the last group of all.

    Args:
      target: the index of the group that counts; None for all: the sum of the gradients of the
        other groups that are not given up.
      error: `delta`.
      margin: the cosine that a group must reach to stay.
      least: updates before a group can be given up.
      floor: no rate falls below ``floor / K``.

    Raises:
      ValueError: for a floor outside (0, 1], an error outside (0, 1), fewer than two updates, a
        negative target; in `init` for a target that there is not.
    """
    if not 0 < error < 1:
        raise ValueError(f"error must be in (0, 1), got {error}")
    if least < 2:
        raise ValueError(f"least must be 2 or more, got {least}")

    def init(num_groups: int, rates: np.ndarray) -> EliminationState:
        zeros = np.zeros(num_groups)
        return EliminationState(
            rates.copy(), np.ones(num_groups, bool), np.zeros(num_groups, np.int32), zeros, zeros
        )

    def update(signals: Any, rates: Any, own: Any, mask: Any) -> tuple[Any, Any]:
        xp = namespace(rates)
        cosines, known = _cosines(signals["gramian"], target, own.active)
        known = known & mask & own.active
        count = own.count + known
        # Welford's update, which keeps its digits where the mean is far from 0.
        shift = xp.where(known, cosines - own.mean, 0)
        mean = own.mean + shift / xp.maximum(count, 1)
        spread = own.spread + xp.where(known, shift * (cosines - mean), 0)
        n = xp.maximum(count, 2)
        logarithm = xp.log(math.pi**2 * rates.shape[0] / 6 / error) + 2 * xp.log(n)
        upper = mean + xp.sqrt(2 * spread / (n - 1) * logarithm / n)
        costly = known & (count >= least) & (upper < margin) & (xp.sum(own.active) > 1)
        worst = xp.argmin(xp.where(costly, mean, xp.inf))
        gone = costly & (xp.arange(rates.shape[0]) == worst)
        active = own.active & ~gone
        if target is None:
            # The sum of the gradients is another one without it.
            again = xp.any(gone)
            count, mean, spread = (xp.where(again, 0, part) for part in (count, mean, spread))
        return (
            xp.where(active, own.first, 0),
            EliminationState(own.first, active, count, mean, spread),
        )

    return guard(update, requires=("gramian",), floor=floor, init=init, target=target)


def _cosines(gramian: Any, target: int | None, active: Any) -> tuple[Any, Any]:
    """Cosines ``[K]`` with the target's gradient, and where there are any."""
    xp = namespace(gramian)
    squares = xp.diagonal(gramian)
    if target is not None:
        products, of_target = gramian[target], squares[target]
        others = xp.arange(squares.size) != target
    else:
        # The sum of the other active groups' gradients, one sum a group.
        chosen = active & ~xp.eye(squares.size, dtype=bool)
        products = xp.sum(xp.where(chosen, gramian, 0), 1)
        pairs = chosen[:, :, None] & chosen[:, None, :]
        of_target = xp.sum(xp.where(pairs, gramian, 0), (1, 2))
        others = xp.ones(squares.size, bool)
    norms = xp.sqrt(xp.maximum(squares, 0)) * xp.sqrt(xp.maximum(of_target, 0))
    known = others & (norms > 0)
    return xp.clip(xp.where(known, products / xp.where(known, norms, 1), 0), -1, 1), known

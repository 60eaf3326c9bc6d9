"""The part that all schedules share: checks, absent groups, numbers that are not finite."""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mtljax.mixtures.contract import SIGNALS, Array, Schedule, ScheduleState
from mtljax.mixtures.rates import floored, namespace

Update = Callable[[Mapping[str, Any], Any, Any, Any], tuple[Any, Any]]
"""``(signals, rates, own, mask) -> (rates, own)``, the bare formulas."""


def guard(
    update: Update,
    *,
    requires: Iterable[str],
    floor: float,
    init: Callable[[int, np.ndarray], Any] = lambda num_groups, rates: (),
    target: int | None = None,
) -> Schedule:
    """Makes a `Schedule` of the bare formulas of a method.

    | input | rates and state |
    |---|---|
    | a group is absent (`mask` false) | its rate does not change; the others share the rest |
    | all groups, or the target, are absent | unchanged |
    | a signal of a group that is present is NaN or infinite | unchanged |
    | a rate would be below ``floor / K`` | it is that, and the others have the rest |
    | wrong shape, missing signal | ValueError |

    Args:
      update: see `Update`; it is given signals with zeros in place of those of absent groups, and
        its rates need neither sum to 1 nor keep the floor.
      requires: names out of `SIGNALS`.
      floor: `c`: no rate falls below ``c / K``.
      init: ``(num_groups, rates) -> own``, a tree of NumPy arrays.
      target: the index of the group without which nothing can be learned; None for none.

    Raises:
      ValueError: for a signal that there is not, a floor outside (0, 1], a negative target.
    """
    needed = frozenset(requires)
    if needed - SIGNALS.keys():
        raise ValueError(f"requires: unknown signals {', '.join(sorted(needed - SIGNALS.keys()))}")
    if not 0 < floor <= 1:
        raise ValueError(f"floor must be in (0, 1], so that no group starves for ever, got {floor}")
    if target is not None and operator.index(target) < 0:
        raise ValueError(f"target must be 0 or more, got {target}")

    def first(num_groups: int, rates: Sequence[float] | None = None) -> ScheduleState:
        if num_groups < 2:
            raise ValueError(f"num_groups must be 2 or more, got {num_groups}")
        if target is not None and target >= num_groups:
            raise ValueError(f"target {target}: there are {num_groups} groups")
        given = np.full(num_groups, 1.0) if rates is None else np.array(rates, np.float64)
        if given.shape != (num_groups,):
            raise ValueError(f"rates must have shape ({num_groups},), got {given.shape}")
        if not (np.isfinite(given).all() and (given >= 0).all() and given.any()):
            raise ValueError(f"rates must be finite, not negative and not all 0, got {rates}")
        begun = floored(given / given.sum(), floor)
        return ScheduleState(begun, init(num_groups, np.asarray(begun)))

    def checked(
        signals: Mapping[str, Any], state: ScheduleState, *, mask: Any = None
    ) -> tuple[Any, ScheduleState]:
        xp = namespace({name: signals.get(name) for name in needed}, state, mask)
        count = state.rates.shape[0]
        mask = xp.ones(count, bool) if mask is None else xp.asarray(mask)
        if mask.shape != (count,) or mask.dtype != bool:
            raise ValueError(f"mask must be boolean of shape ({count},), got {mask.shape}")
        state = jax.tree.map(xp.asarray, state)
        usable = xp.any(mask) if target is None else mask[target]
        clean = {}
        for name in sorted(needed):
            if signals.get(name) is None:
                raise ValueError(f"signal {name!r} is missing")
            value = xp.asarray(signals[name])
            if value.shape != (count,) * SIGNALS[name]:
                shape = (count,) * SIGNALS[name]
                raise ValueError(f"signal {name!r} must have shape {shape}, got {value.shape}")
            counts = mask if value.ndim == 1 else mask[:, None] & mask[None, :]
            finite = xp.isfinite(value)
            usable = usable & xp.all(finite | ~counts)
            value = value.astype(xp.result_type(value.dtype, state.rates.dtype))
            clean[name] = xp.where(finite & counts, value, 0)
        # Where nothing can be learned the formulas run all the same, on zeros that mean nothing.
        seen = mask | ~usable
        with np.errstate(all="ignore"):  # what is not finite is not used
            rates, own = update(clean, state.rates, state.own, seen)
            rates = _with_absent(rates, state.rates, seen, floor)
        learned = ScheduleState(rates, own)
        for leaf in jax.tree.leaves(learned):
            usable = usable & xp.all(xp.isfinite(leaf))

        def kept(new: Any, old: Any) -> Any:
            return xp.where(usable, new, old).astype(old.dtype)

        state = jax.tree.map(kept, learned, state)
        return state.rates, state

    return Schedule(first, checked, needed)


def _with_absent(rates: Array, before: Array, mask: Array, floor: float) -> Array:
    """New rates of the groups present, which share what the others, unchanged, leave."""
    xp = namespace(rates, before, mask)
    present = xp.where(mask, rates, 0)
    left = 1 - xp.sum(xp.where(mask, 0, before))
    total = xp.sum(present)
    shares = xp.where(total > 0, present / xp.where(total > 0, total, 1), mask / xp.sum(mask))
    return floored(xp.where(mask, left * shares, before), floor, mask)

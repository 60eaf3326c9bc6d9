"""The best partition of a few tasks, whatever a group of them is worth."""

import numpy as np
from numpy.typing import ArrayLike


def best_partition(values: ArrayLike, groups: int) -> tuple[np.ndarray, float]:
    """Finds the partition of T tasks into at most `groups` groups with the greatest sum of values.

    Exact, by dynamic programming over subsets in 3^T steps a group: a second for 12 tasks. The
    value of a group may be anything, such as what `subset_losses` predicts for it.

    Args:
      values: ``[2**T]``, the value of the subset whose members are the bits of the index;
        minus infinity for one that is not allowed. That of the empty set is not read.
      groups: the most groups there may be, 1 or more.

    Returns:
      The group of each task, ``[T]``, numbered in the order of their first tasks; and the sum,
      minus infinity if no partition is allowed.

    Raises:
      ValueError: `values` has not 2**T entries, or there is no group.

    >>> best_partition([0, 1, 1, 5, 1, 0, 0, 2], 2)  # of {1}, {2}, {1, 2}, {3}, ...
    (array([0, 0, 1]), 6.0)
    """
    values = np.asarray(values, float)
    count = int(values.size).bit_length() - 1
    if values.ndim != 1 or values.size != 1 << count or count < 1:
        raise ValueError(f"values: must have 2**T entries, got shape {values.shape}")
    if groups < 1:
        raise ValueError(f"groups: must be 1 or more, got {groups}")
    inside = [_with_lowest(subset) for subset in range(values.size)]
    best, chosen = np.full(values.size, -np.inf), []
    best[0] = 0.0
    for _ in range(min(groups, count)):
        before, choice = best.copy(), np.zeros(values.size, int)
        for subset in range(1, values.size):
            parts = inside[subset]
            sums = values[parts] + before[subset ^ parts]
            at = int(sums.argmax())
            # Fewer groups where more gain nothing.
            if sums[at] > before[subset]:
                best[subset], choice[subset] = sums[at], parts[at]
        chosen.append(choice)
    labels, rest, label = np.zeros(count, int), values.size - 1, 0
    for choice in reversed(chosen):
        part = int(choice[rest])
        if part:
            labels[[task for task in range(count) if part >> task & 1]] = label
            rest, label = rest ^ part, label + 1
    return labels, float(best[-1])


def _with_lowest(subset: int) -> np.ndarray:
    """The subsets of a set that have its lowest member."""
    lowest = subset & -subset
    found = np.array([lowest])
    rest = subset ^ lowest
    while rest:
        member = rest & -rest
        found = np.concatenate([found, found | member])
        rest ^= member
    return found

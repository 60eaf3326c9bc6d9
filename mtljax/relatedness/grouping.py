"""Groups of tasks that are best trained together, of an affinity."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mtljax.relatedness.partitions import best_partition

_EXACT_TASKS = 12
_RESTARTS = 4


class Grouping(NamedTuple):
    """Which tasks share an encoder.

    Attributes:
      labels: the group of each task, ``[T]``, numbered in the order of their first tasks.
      gains: the gain of each task in its group, ``[T]``, see `group_gains`.
      errors: their standard errors, ``[T]``; None without draws of the affinity.
      total: the sum of the gains.
      bound: no grouping has a greater total; equal to it where the grouping is exact.
    """

    labels: np.ndarray
    gains: np.ndarray
    errors: np.ndarray | None
    total: float
    bound: float


def group_gains(affinity: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """The gain of every task in its group: the mean of the affinities onto it, its own included.

    With affinities that are gains over training alone, and zeros on the diagonal, a task alone
    gains 0, and a group of many tasks that help counts more than a pair.

    Args:
      affinity: ``[..., T, T]``, from a row onto a column.
      labels: ``[T]``, the groups.

    Returns:
      ``[..., T]``.
    """
    affinity, labels = np.asarray(affinity, float), np.asarray(labels)
    same = labels[:, None] == labels
    return np.where(same, affinity, 0).sum(-2) / same.sum(0)


def best_grouping(
    affinity: ArrayLike,
    groups: int,
    *,
    together: Iterable[tuple[int, int]] = (),
    apart: Iterable[tuple[int, int]] = (),
    seed: int = 0,
) -> Grouping:
    """Finds the partition of T tasks into at most `groups` groups with the greatest total gain.

    The total is the average density of the groups (Li et al. 2024, "Scalable Multitask Learning
    Using Gradient-based Estimation of Task Affinity", section 4). Up to 12 tasks it is exact, see
    `best_partition`. Beyond, the best of several searches that begin at the eigenvectors of the
    affinity and at greedy merging and move task after task; `Grouping.bound`, from its eigenvalues
    and from the best company that each task could have, tells how much they may have missed.

    Args:
      affinity: ``[T, T]``, from a row onto a column; or ``[N, T, T]``, draws of it, such as those
        of N steps or seeds, whose mean is used and whose spread gives standard errors (of
        independent draws).
      groups: the most groups there may be: encoders that one can afford.
      together: pairs of tasks that must be in one group.
      apart: pairs of tasks that must not.
      seed: of the searches.

    Returns:
      A `Grouping`.

    Raises:
      ValueError: the affinity is not square or not finite, there is no group, or no grouping does
        what `together` and `apart` ask for.

    >>> best_grouping([[0, 0.3, -0.2], [0.1, 0, -0.1], [-0.1, 0, 0]], groups=2).labels
    array([0, 0, 1])
    """
    draws = np.asarray(affinity, float)
    if draws.ndim not in (2, 3) or draws.shape[-1] != draws.shape[-2] or not draws.size:
        raise ValueError(f"affinity: must be [T, T] or [N, T, T], got shape {draws.shape}")
    if not np.isfinite(draws).all():
        raise ValueError("affinity: every entry must be finite")
    if groups < 1:
        raise ValueError(f"groups: must be 1 or more, got {groups}")
    mean = draws if draws.ndim == 2 else draws.mean(0)
    clusters = _joined(mean.shape[0], together)
    allowed = _allowed(clusters, apart)
    # Tasks that must be together are one from here on: sums of affinities, and how many they are.
    members = np.eye(clusters.max() + 1)[clusters].T
    sums, sizes = members @ mean @ members.T, members.sum(1)
    if sizes.size <= _EXACT_TASKS:
        of_clusters, total = best_partition(_subset_values(sums, sizes, allowed), groups)
        bound = total
    else:
        of_clusters, total = _search(sums, sizes, allowed, groups, seed)
        bound = max(total, _upper_bound(mean, groups))
    if total == -np.inf:
        raise ValueError(f"apart: no {groups} groups keep these tasks apart")
    labels = _in_order(of_clusters[clusters])
    errors = None
    if draws.ndim == 3 and len(draws) > 1:
        errors = group_gains(draws, labels).std(0, ddof=1) / np.sqrt(len(draws))
    return Grouping(labels, group_gains(mean, labels), errors, float(total), float(bound))


def _joined(count: int, together: Iterable[tuple[int, int]]) -> np.ndarray:
    """The cluster of each task, where pairs must be in one."""
    clusters = np.arange(count)
    for first, second in together:
        clusters[clusters == clusters[second]] = clusters[first]
    return _in_order(clusters)


def _allowed(clusters: np.ndarray, apart: Iterable[tuple[int, int]]) -> np.ndarray:
    """Which clusters may be in one group, ``[C, C]``."""
    allowed = np.ones((clusters.max() + 1,) * 2, bool)
    for first, second in apart:
        one, other = clusters[first], clusters[second]
        if one == other:
            raise ValueError(f"apart: tasks {first} and {second} have to be together as well")
        allowed[one, other] = allowed[other, one] = False
    return allowed


def _subset_values(sums: np.ndarray, sizes: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """What each subset of clusters is worth, ``[2**C]``."""
    totals, counts, fits = np.zeros(1), np.zeros(1), np.ones(1, bool)
    membership = np.zeros((1, 0))
    for cluster in range(sizes.size):
        pair = sums[cluster, :cluster] + sums[:cluster, cluster]
        with_it = totals + membership @ pair + sums[cluster, cluster]
        clash = membership @ ~allowed[cluster, :cluster] > 0
        totals = np.concatenate([totals, with_it])
        counts = np.concatenate([counts, counts + sizes[cluster]])
        fits = np.concatenate([fits, fits & ~clash])
        membership = np.block(
            [
                [membership, np.zeros((len(membership), 1))],
                [membership, np.ones((len(membership), 1))],
            ]
        )
    return np.where(fits, totals / np.maximum(counts, 1), -np.inf)


def _search(
    sums: np.ndarray, sizes: np.ndarray, allowed: np.ndarray, groups: int, seed: int
) -> tuple[np.ndarray, float]:
    """The best grouping of clusters that moves of one of them, and merging, lead to."""
    generator = np.random.default_rng(seed)
    starts = [_merged(sums, sizes, allowed, groups)]
    numbers = range(1, min(groups, sizes.size) + 1)
    starts += [_spectral(sums, sizes, n, generator) for n in numbers for _ in range(_RESTARTS)]
    found = [_moved(start, sums, sizes, allowed, groups) for start in starts]
    return max(found, key=lambda one: one[1])


def _merged(sums: np.ndarray, sizes: np.ndarray, allowed: np.ndarray, groups: int) -> np.ndarray:
    """Clusters each for itself, merged two by two where that gains most, or costs least."""
    sums, sizes, allowed = sums.copy(), sizes.copy(), allowed.copy()
    labels, alive = np.arange(sizes.size), np.ones(sizes.size, bool)
    while True:
        both = sums.diagonal()[:, None] + sums.diagonal() + sums + sums.T
        density = sums.diagonal() / sizes
        gain = both / (sizes[:, None] + sizes) - density[:, None] - density
        possible = allowed & alive[:, None] & alive & ~np.eye(sizes.size, dtype=bool)
        gain = np.where(possible, gain, -np.inf)
        one, other = np.unravel_index(int(gain.argmax()), gain.shape)
        if not possible.any() or (gain[one, other] <= 0 and alive.sum() <= groups):
            return labels
        sums[one] += sums[other]
        sums[:, one] += sums[:, other]
        sizes[one] += sizes[other]
        allowed[one] &= allowed[other]
        allowed[:, one] = allowed[one]
        labels[labels == other], alive[other] = one, False


def _spectral(
    sums: np.ndarray, sizes: np.ndarray, groups: int, generator: np.random.Generator
) -> np.ndarray:
    """Clusters that lie in one direction of the leading eigenvectors (Zha et al. 2001)."""
    scale = np.sqrt(sizes)
    _, vectors = np.linalg.eigh((sums + sums.T) / (2 * np.outer(scale, scale)))
    rows = vectors[:, -groups:]
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    centres = rows[generator.permutation(len(rows))[:groups]]
    labels = np.zeros(len(rows), int)
    for _ in range(20):
        labels = (rows @ centres.T).argmax(1)
        for group in set(labels.tolist()):
            mean = rows[labels == group].sum(0)
            centres[group] = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return labels


def _moved(
    start: np.ndarray, sums: np.ndarray, sizes: np.ndarray, allowed: np.ndarray, groups: int
) -> tuple[np.ndarray, float]:
    """A grouping after its best changes: a cluster moves, or two groups become one."""
    count = sizes.size
    members = np.zeros((groups, count))
    for cluster, label in enumerate(_in_order(start)):
        # What begins with too many groups, or with clusters that must be apart, is mended first.
        order = [label % groups, *range(groups)]
        fit = [g for g in order if not (members[g] @ ~allowed[cluster])]
        if not fit:
            return start, -np.inf
        members[fit[0], cluster] = 1
    both = sums + sums.T
    while True:
        inside = np.einsum("gi,ij,gj->g", members, sums, members)
        number = members @ sizes
        density = np.where(number > 0, inside / np.maximum(number, 1), 0)
        others = members @ both  # [G, C]: what a cluster and the members of a group do together
        own = np.diagonal(sums)
        joins = (inside[:, None] + others + own) / (number[:, None] + sizes) - density[:, None]
        at = members.argmax(0)
        here = np.arange(count)
        left = number[at] - sizes
        rest = inside[at] - others[at, here] + own
        leaves = np.where(left > 0, rest / np.maximum(left, 1), 0) - density[at]
        gain = np.where((members @ ~allowed > 0) | (members > 0), -np.inf, joins + leaves)
        pairs = members @ both @ members.T
        merges = (inside[:, None] + inside + pairs) / np.maximum(number[:, None] + number, 1)
        empty = (number[:, None] == 0) | (number == 0) | np.eye(groups, dtype=bool)
        clash = members @ ~allowed @ members.T > 0
        merges = np.where(empty | clash, -np.inf, merges - density[:, None] - density)
        if max(gain.max(), merges.max()) <= 1e-12 * max(1.0, float(np.abs(sums).max())):
            return at, float(density.sum())
        if gain.max() >= merges.max():
            group, cluster = np.unravel_index(int(gain.argmax()), gain.shape)
            members[:, cluster] = 0
            members[group, cluster] = 1
        else:
            group, other = np.unravel_index(int(merges.argmax()), merges.shape)
            members[group] += members[other]
            members[other] = 0


def _upper_bound(affinity: np.ndarray, groups: int) -> float:
    """No grouping into so many groups has a greater total."""
    # With groups as unit vectors, the total is a trace: no more than the largest eigenvalues.
    values = np.sort(np.linalg.eigvalsh((affinity + affinity.T) / 2))[::-1][:groups]
    by_trace = max(np.cumsum(values))
    # Each task with the company that is best for it.
    best = np.sort(affinity - np.diag(np.full(len(affinity), np.inf)), axis=0)[::-1][:-1]
    sums = np.vstack([affinity.diagonal(), best]).cumsum(0)
    by_company = (sums / np.arange(1, len(affinity) + 1)[:, None]).max(0).sum()
    return float(min(by_trace, by_company))


def _in_order(labels: Sequence[int] | np.ndarray) -> np.ndarray:
    """Labels numbered in the order in which they appear."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]

"""How sure a metric, and the difference of two models, can be: resampling of texts and seeds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mtljax import metrics
from mtljax.metrics import State

_CHUNK = 2**24


class Interval(NamedTuple):
    """A value, and the range that covers it in 95 of 100 samples like this one."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """A difference with its 95 % interval.

    Attributes:
      value: the second minus the first.
      low: lower end of the interval.
      high: upper end.
      p: how often chance alone would make a difference as large, if both were equally good.
    """

    value: float
    low: float
    high: float
    p: float


def interval(states: Sequence[State], *, draws: int = 2000, seed: int = 0) -> Interval:
    """The mean of a metric over seeds, with its interval by the bootstrap (Efron 1979).

    Texts are drawn with replacement, the same for all seeds, and so are seeds, where there are
    several. The interval is of percentiles. Of two or three seeds it is too narrow: their spread
    is hardly known.

    Args:
      states: for each seed, the states of n texts, arrays ``[n, ...]``, whose sum is that of the
        split.
      draws: samples that are drawn.
      seed: of the draws.

    Returns:
      `Interval`.
    """
    generator = np.random.default_rng(seed)
    sampled = _sampled(states, draws, generator)
    chosen = generator.integers(0, len(states), (len(states), draws))
    means = np.take_along_axis(sampled, chosen, axis=0).mean(0)
    return Interval(_mean(states), *_ends(means))


def difference(
    first: Sequence[State], second: Sequence[State], *, draws: int = 2000, seed: int = 0
) -> Difference:
    """The difference of two models on the same texts, with a paired interval and a paired test.

    The interval as of `interval`, with the same texts and seeds drawn for both. The test is a
    permutation test (Fisher 1935; Noreen 1989, "approximate randomization"): of every text, the
    results of the two models are exchanged at random, in all seeds alike, and `p` is how often the
    difference is at least as large as the real one. It asks about other texts, not other seeds.

    Args:
      first: for each seed, the states of n texts, arrays ``[n, ...]``.
      second: of the same seeds and texts, in the same order.
      draws: samples, and exchanges, that are drawn.
      seed: of the draws.

    Returns:
      `Difference`.

    Raises:
      ValueError: another number of seeds or texts.
    """
    sizes = {jax.tree.leaves(one)[0].shape[0] for one in (*first, *second)}
    if len(first) != len(second) or len(sizes) != 1:
        raise ValueError("differences are of the same seeds and texts")
    generator = np.random.default_rng(seed)
    sampled = _sampled([*first, *second], draws, generator)
    paired = sampled[len(first) :] - sampled[: len(first)]
    chosen = generator.integers(0, len(first), (len(first), draws))
    means = np.take_along_axis(paired, chosen, axis=0).mean(0)
    value = _mean(second) - _mean(first)
    exchanged = _exchanged(first, second, draws, generator)
    # With the real one among them, p is never 0.
    as_large = np.sum(np.abs(exchanged) >= abs(value) - 1e-12)
    return Difference(value, *_ends(means), float((as_large + 1) / (draws + 1)))


def mean_gain(
    pairs: Sequence[tuple[Sequence[State], Sequence[State]]],
    lower_is_better: Sequence[bool],
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    r"""The mean over tasks of the relative gain of one model over another, with its interval.

    :math:`\Delta_m = \frac{1}{T} \sum_i (-1)^{l_i} (M_i - B_i) / B_i` (Maninis et al., CVPR 2019),
    with M and B means over seeds. Texts are drawn for each task, seeds for all tasks at once.

    Args:
      pairs: for each task the states of B and of M, for each seed, as `difference` takes them.
      lower_is_better: of each task's metric.
      draws: samples that are drawn.
      seed: of the draws.

    Returns:
      `Interval` of a share: 0.01 for a gain of 1 %.
    """
    generator = np.random.default_rng(seed)
    seeds = len(pairs[0][0])
    chosen = generator.integers(0, seeds, (seeds, draws))
    sampled, values = [], []
    for (first, second), lower in zip(pairs, lower_is_better, strict=True):
        drawn = _sampled([*first, *second], draws, generator)
        base, ours = (
            np.take_along_axis(part, chosen, axis=0).mean(0)
            for part in (drawn[:seeds], drawn[seeds:])
        )
        sign = -1 if lower else 1
        sampled.append(sign * _relative(base, ours))
        values.append(sign * float(_relative(np.array(_mean(first)), np.array(_mean(second)))))
    return Interval(float(np.mean(values)), *_ends(np.mean(sampled, axis=0)))


def _relative(base: np.ndarray, ours: np.ndarray) -> np.ndarray:
    return np.where(base == 0, 0, (ours - base) / np.where(base == 0, 1, base))


def _mean(states: Sequence[State]) -> float:
    totals = [jax.tree.map(lambda leaf: leaf.sum(0), one) for one in states]
    return float(np.mean([float(metrics.compute(one)) for one in totals]))


def _ends(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _sampled(states: Sequence[State], draws: int, generator: np.random.Generator) -> np.ndarray:
    """The metric of every seed over texts drawn with replacement, ``[seeds, draws]``."""
    size = jax.tree.leaves(states[0])[0].shape[0]
    chances = np.full(size, 1 / size)

    def drawn(count: int) -> np.ndarray:
        return generator.multinomial(size, chances, size=count).astype(float)

    return np.concatenate(
        [
            np.stack([_computed(one, weights) for one in states])
            for weights in map(drawn, _chunks(draws, size))
        ],
        axis=1,
    )


def _exchanged(
    first: Sequence[State], second: Sequence[State], draws: int, generator: np.random.Generator
) -> np.ndarray:
    """Differences of means over seeds after texts were exchanged at random, ``[draws]``."""
    size = jax.tree.leaves(first[0])[0].shape[0]
    found = []
    for count in _chunks(draws, size):
        kept = generator.integers(0, 2, (count, size)).astype(float)
        per_seed = [
            _computed(_both(one, other), np.concatenate([1 - kept, kept], axis=1))
            - _computed(_both(one, other), np.concatenate([kept, 1 - kept], axis=1))
            for one, other in zip(first, second, strict=True)
        ]
        found.append(np.mean(per_seed, axis=0))
    return np.concatenate(found)


def _both(first: State, second: State) -> Any:
    return jax.tree.map(lambda one, other: np.concatenate([one, other]), first, second)


def _computed(states: State, weights: np.ndarray) -> np.ndarray:
    """The metric of weighted sums of states, ``[draws]`` of weights ``[draws, n]``."""
    totals = jax.tree.map(
        lambda leaf: (weights @ leaf.reshape(len(leaf), -1)).reshape(-1, *leaf.shape[1:]), states
    )
    return np.asarray(metrics.compute(totals), float)


def _chunks(draws: int, size: int) -> list[int]:
    """So many draws in parts whose weights fit in memory."""
    most = max(_CHUNK // max(size, 1), 1)
    return [min(most, draws - begun) for begun in range(0, draws, most)]

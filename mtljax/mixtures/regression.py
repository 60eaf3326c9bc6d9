"""A fixed mixture chosen by a regression of losses on rates, from small runs at drawn rates."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_PENALTIES = 10.0 ** np.arange(-6, 3)


class Proposal(NamedTuple):
    """Rates that a regression proposes.

    Attributes:
      rates: ``[K]``.
      loss: what the regression predicts there.
      correlation: of the losses of the runs with what it predicts for each from the others; where
        it is not well above 0, the proposal says nothing.
      best_run: the run with the lowest loss of those that there are.
    """

    rates: np.ndarray
    loss: float
    correlation: float
    best_run: int


def drawn_rates(
    count: int,
    prior: np.ndarray | Sequence[float],
    *,
    strength: float = 1.0,
    least: float = 0.01,
    seed: int = 0,
) -> np.ndarray:
    """Rates ``[count, K]`` of runs that a regression learns from, the first of them the prior.

    Args:
      count: how many.
      prior: ``[K]``, the rates around which they are drawn, from a Dirichlet distribution.
      strength: its parameters are `K` times the prior times this; larger ones draw closer to it.
      least: no rate is below this share of an equal one.
      seed: of the draws.

    >>> drawn_rates(2, [0.5, 0.5])[0].tolist()
    [0.5, 0.5]
    """
    mean = np.asarray(prior, np.float64)
    mean = mean / mean.sum()
    alpha = np.maximum(strength * mean.size * mean, 1e-3)
    drawn = np.random.default_rng(seed).dirichlet(alpha, max(count - 1, 0))
    rates = np.concatenate([mean[None], drawn])[:count]
    return (1 - least) * rates + least / mean.size


def propose_rates(
    rates: np.ndarray,
    losses: np.ndarray,
    *,
    candidates: int = 20_000,
    top: int = 100,
    seed: int = 0,
) -> Proposal:
    r"""Proposes the mixture with the lowest loss, after Liu et al. ("RegMix", ICLR 2025).

    The loss is regressed on the rates, which the paper does linearly or by boosted trees; here on
    rates and their products, by ridge regression whose penalty leaves one run out at a time. Of
    many mixtures drawn where the runs lie, the mean of the `top` ones is proposed, as in the paper:
    it depends less on a single prediction than the very best.

    Args:
      rates: ``[N, K]`` of N runs.
      losses: ``[N]``, what each reached: of a target, or a mean over tasks.
      candidates: mixtures drawn.
      top: how many of them are averaged.
      seed: of the draws.

    Raises:
      ValueError: fewer runs than groups and one, or numbers that are not finite.
    """
    known, values = np.asarray(rates, np.float64), np.asarray(losses, np.float64)
    if known.ndim != 2 or values.shape != known.shape[:1]:
        raise ValueError(f"rates and losses: shapes {known.shape} and {values.shape} do not fit")
    count, groups = known.shape
    if count < groups + 1:
        raise ValueError(f"rates: {groups} groups need {groups + 1} runs or more, got {count}")
    if not (np.isfinite(known).all() and np.isfinite(values).all()):
        raise ValueError("rates and losses must be finite")
    features = _features(known)
    centre, middle = features.mean(0), values.mean()
    scale = np.where(features.std(0) > 0, features.std(0), 1)
    left, sizes, right = np.linalg.svd((features - centre) / scale, full_matrices=False)
    along = left.T @ (values - middle)

    def without_one(penalty: float) -> np.ndarray:
        """What is predicted for each run by the others; the mean is learned too."""
        shrunk = sizes**2 / (sizes**2 + penalty)
        leverage = (left**2 @ shrunk) + 1 / count
        fitted = left @ (shrunk * along) + middle
        return values - (values - fitted) / np.maximum(1 - leverage, 1e-9)

    predictions = [without_one(penalty) for penalty in _PENALTIES]
    errors = [float(np.mean((values - predicted) ** 2)) for predicted in predictions]
    best = int(np.argmin(errors))
    weights = right.T @ (sizes / (sizes**2 + _PENALTIES[best]) * along)
    spread = np.random.default_rng(seed).dirichlet(np.ones(groups), candidates)
    drawn = np.concatenate([known, np.clip(spread, known.min(0), known.max(0))])
    drawn = drawn / drawn.sum(1, keepdims=True)

    def predicted(points: np.ndarray) -> np.ndarray:
        return middle + (_features(points) - centre) / scale @ weights

    order = np.argsort(predicted(drawn), kind="stable")
    proposed = drawn[order[:top]].mean(0)
    spreads = values.std() * predictions[best].std()
    product = np.mean((values - middle) * (predictions[best] - predictions[best].mean()))
    return Proposal(
        proposed / proposed.sum(),
        float(predicted(proposed[None])[0]),
        float(product / spreads) if spreads > 0 else 0.0,
        int(values.argmin()),
    )


def _features(rates: np.ndarray) -> np.ndarray:
    """Rates and their products, each pair once."""
    first, second = np.triu_indices(rates.shape[1])
    return np.concatenate([rates, rates[:, first] * rates[:, second]], 1)

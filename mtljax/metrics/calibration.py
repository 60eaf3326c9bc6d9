"""How well probabilities say how often answers are right."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Calibration(NamedTuple):
    """Answers by the probability that they were given with.

    Attributes:
      counts: ``[bins]``, of the answers in each bin.
      probability: ``[bins]``, their mean probability; NaN in an empty bin.
      accuracy: ``[bins]``, the share of them that is right; NaN in an empty bin.
      error: the expected calibration error: the mean over all answers of the distance between the
        accuracy and the probability of their bin, from 0 to 1.
    """

    counts: np.ndarray
    probability: np.ndarray
    accuracy: np.ndarray
    error: float


def calibration(
    probabilities: ArrayLike, correct: ArrayLike | Sequence[bool], bins: int = 10
) -> Calibration:
    """Compares probabilities with how often answers are right (Guo et al., ICML 2017, eq. 2 and 3).

    On the host, in float64. Bins are of equal width from 0 to 1, each without its lower end, but
    for the first.

    Args:
      probabilities: ``[n]``, of the class that was answered.
      correct: ``[n]``, whether it was right.
      bins: their number.

    Returns:
      `Calibration`.

    Raises:
      ValueError: other shapes, no answers, a probability outside of [0, 1], or no bin.

    >>> calibration([0.9, 0.7, 0.8], [True, False, True], bins=2).error
    0.1333
    """
    values, right = np.asarray(probabilities, float), np.asarray(correct, bool)
    if values.ndim != 1 or values.shape != right.shape or not values.size:
        shapes = f"{values.shape} and {right.shape}"
        raise ValueError(f"probabilities and correct must be [n], n > 0, got {shapes}")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("probabilities must be in [0, 1]")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    places = np.clip(np.ceil(values * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    filled = np.where(counts > 0, counts, np.nan)
    probability = np.bincount(places, values, bins) / filled
    accuracy = np.bincount(places, right, bins) / filled
    distances = np.abs(np.where(counts > 0, accuracy - probability, 0))
    return Calibration(counts, probability, accuracy, float(counts @ distances / values.size))

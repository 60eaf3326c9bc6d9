"""What is said where probabilities are low: thresholds of sets, and answers that are held back."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mtljax.errors import UserError


class Decisions(NamedTuple):
    """From probabilities to answers.

    Attributes:
      threshold: of the probability from which a class is in a set of labels, exclusive.
      reject_below: the probability that the most probable class must have; below, the label is
        None: a text that is of none of the classes, or that cannot be told.
    """

    threshold: float = 0.5
    reject_below: float = 0.0


USUAL = Decisions()
"""Every text has an answer, and a set of labels those that are more probable than not."""


def check_decisions(decisions: Decisions) -> None:
    """Check that thresholds are probabilities.

    Raises:
      UserError: naming the one that is not.
    """
    for name, value in decisions._asdict().items():
        if not 0 <= value <= 1:
            raise UserError(f"{name}: must be in [0, 1], got {value}")


def decided(answer: Mapping[str, Any], decisions: Decisions) -> dict[str, Any]:
    """An answer of `mtljax.inference.Run.predict` with the label or labels that are decided on.

    Answers without probabilities stay as they are.

    >>> decided({"label": "a", "probabilities": {"a": 0.6, "b": 0.4}}, Decisions(0.5, 0.7))["label"]
    """
    probabilities = answer.get("probabilities")
    if not probabilities:
        return dict(answer)
    if "labels" in answer:
        labels = [name for name, p in probabilities.items() if p > decisions.threshold]
        return {**answer, "labels": labels}
    if max(probabilities.values()) < decisions.reject_below:
        return {**answer, "label": None}
    return dict(answer)


def reject_below(probabilities: Any, correct: Any, accuracy: float) -> float:
    """The lowest probability from which on the answers are right often enough.

    To be taken on a split that was not trained on, such as validation: the answers whose
    probability is at least the threshold are right in a share of at least `accuracy`, and there is
    no lower threshold among the probabilities of which that holds.

    Args:
      probabilities: ``[n]``, of the class that was answered.
      correct: ``[n]``, whether it was right.
      accuracy: the share in [0, 1].

    Returns:
      The threshold, infinite if no threshold will do.

    Raises:
      ValueError: other shapes, no answers, or an accuracy outside of [0, 1].

    >>> reject_below([0.9, 0.8, 0.6, 0.5], [True, True, False, True], 0.75)
    0.5
    """
    values, right = np.asarray(probabilities, float), np.asarray(correct, bool)
    if values.ndim != 1 or values.shape != right.shape or not values.size:
        shapes = f"{values.shape} and {right.shape}"
        raise ValueError(f"probabilities and correct must be [n], n > 0, got {shapes}")
    if not 0 <= accuracy <= 1:
        raise ValueError(f"accuracy must be in [0, 1], got {accuracy}")
    order = np.argsort(-values, kind="stable")
    values = values[order]
    shares = np.cumsum(right[order]) / np.arange(1, values.size + 1)
    # Equal probabilities are answered together: only the last of them is a threshold.
    last = np.append(values[1:] < values[:-1], True)
    enough = np.flatnonzero(last & (shares >= accuracy))
    return float(values[enough[-1]]) if enough.size else math.inf

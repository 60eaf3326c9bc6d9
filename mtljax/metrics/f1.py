"""Micro-averaged F1 over tags."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.metrics.states import F1, check_same_shape, class_ids, counted


def micro_f1(
    predictions: ArrayLike,
    targets: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    outside: int = 0,
) -> F1:
    """Counts for the micro-averaged F1 over all tags but one.

    The tag `outside` (``O``) is no answer: predicting it rightly counts nothing, and predicting it
    in place of another tag is a miss.

    Args:
      predictions: tag ids ``[...]``, integer.
      targets: tag ids ``[...]``.
      weights: ``[...]``, 0 where nothing is to be counted, or None for ones.
      outside: the id of the tag that is left out; -1 leaves out none (then F1 is accuracy).

    Returns:
      An `F1` state.

    Raises:
      TypeError: not class ids.
      ValueError: shapes differ.

    >>> from mtljax.metrics import compute
    >>> compute(micro_f1([1, 2, 0, 0], [1, 1, 0, 3]))
    Array(0.4, dtype=float32)
    """
    answers, labels = class_ids("predictions", predictions), class_ids("targets", targets)
    check_same_shape(answers, labels)
    predicted, actual = answers != outside, labels != outside
    parts = ((answers == labels) & actual, predicted, actual)
    return F1(*(counted(part.astype(jnp.float32), weights, "targets")[0] for part in parts))

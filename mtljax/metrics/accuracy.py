"""Share of correct answers."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.metrics.states import Mean, check_same_shape, class_ids, counted


def accuracy(predictions: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None) -> Mean:
    """Counts how many predicted classes are the target.

    Args:
      predictions: class ids ``[...]``, integer or boolean: ``logits.argmax(-1)``, or
        ``logit > 0`` for one logit.
      targets: class ids ``[...]``.
      weights: ``[...]``, 0 where nothing is to be counted, or None for ones.

    Returns:
      A `Mean` state, in [0, 1].

    Raises:
      TypeError: not class ids.
      ValueError: shapes differ.

    >>> from mtljax.metrics import compute
    >>> compute(accuracy([0, 1, 2, 0], [0, 1, 1, 0], [1, 1, 1, 0]))
    Array(0.6666667, dtype=float32)
    """
    answers, labels = class_ids("predictions", predictions), class_ids("targets", targets)
    check_same_shape(answers, labels)
    return Mean(*counted((answers == labels).astype(jnp.float32), weights, "targets"))

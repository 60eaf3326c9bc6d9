"""Metrics of answers that are sets of labels."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.metrics.states import MacroF1, Mean, check_same_shape, class_ids, counted


def macro_f1(
    predictions: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None
) -> MacroF1:
    """Counts for the mean over classes of the F1 of each.

    Args:
      predictions: ``[..., C]``, 1 for the predicted labels, else 0; integer or boolean.
      targets: ``[..., C]``, 1 for the labels of the target, else 0; integer or boolean.
      weights: ``[...]``, 0 where nothing is to be counted, or None for ones.

    Returns:
      A `MacroF1` state of ``[C]``.

    Raises:
      TypeError: neither integer nor boolean.
      ValueError: shapes differ, or there is no class axis.

    >>> from mtljax.metrics import compute
    >>> compute(macro_f1([[1, 0], [1, 1]], [[1, 0], [0, 1]]))
    Array(0.8333334, dtype=float32)
    """
    predicted, actual = _sets(predictions, targets)

    def sums(part: jax.Array) -> jax.Array:
        flat = part.astype(jnp.float32).reshape(-1, part.shape[-1])
        if weights is None:
            return flat.sum(0)
        shares = jnp.asarray(weights)
        if shares.shape != part.shape[:-1]:
            raise ValueError(
                f"weights must have the shape of targets without classes, {part.shape[:-1]}, "
                f"got {shares.shape}"
            )
        return (flat * shares.reshape(-1, 1)).sum(0)

    return MacroF1(sums(predicted & actual), sums(predicted), sums(actual))


def exact_match(
    predictions: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None
) -> Mean:
    """Counts how many sets of labels are right in every label.

    Args:
      predictions: ``[..., C]``, 1 for the predicted labels, else 0; integer or boolean.
      targets: ``[..., C]``, 1 for the labels of the target, else 0; integer or boolean.
      weights: ``[...]``, 0 where nothing is to be counted, or None for ones.

    Returns:
      A `Mean` state, in [0, 1].

    Raises:
      TypeError: neither integer nor boolean.
      ValueError: shapes differ, or there is no class axis.

    >>> from mtljax.metrics import compute
    >>> compute(exact_match([[1, 0], [1, 1]], [[1, 0], [0, 1]]))
    Array(0.5, dtype=float32)
    """
    predicted, actual = _sets(predictions, targets)
    equal = jnp.all(predicted == actual, axis=-1)
    return Mean(*counted(equal.astype(jnp.float32), weights, "targets without classes"))


def _sets(predictions: ArrayLike, targets: ArrayLike) -> tuple[jax.Array, jax.Array]:
    answers, labels = class_ids("predictions", predictions), class_ids("targets", targets)
    check_same_shape(answers, labels)
    if answers.ndim < 1:
        raise ValueError("predictions and targets must end in a class axis")
    return answers != 0, labels != 0

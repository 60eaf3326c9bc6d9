"""Means of losses and of errors."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.metrics.states import Mean, check_same_shape, counted


def loss(values: ArrayLike, weights: ArrayLike | None = None) -> Mean:
    """Sums per-element losses.

    Args:
      values: losses ``[...]``, as from `mtljax.losses`.
      weights: ``[...]``, 0 where nothing is to be counted, or None for ones.

    Returns:
      A `Mean` state.

    Raises:
      ValueError: shapes differ.
    """
    return Mean(*counted(jnp.asarray(values), weights, "values"))


def mean_squared_error(
    predictions: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None
) -> Mean:
    """Sums squared errors.

    Args:
      predictions: ``[...]``.
      targets: ``[...]``, in the same units.
      weights: ``[...]``, 0 where nothing is to be counted, or None for ones.

    Returns:
      A `Mean` state, in squared units.

    Raises:
      ValueError: shapes differ.

    >>> from mtljax.metrics import compute
    >>> compute(mean_squared_error([1.0, 2.0], [1.0, 4.0]))
    Array(2., dtype=float32)
    """
    return Mean(*counted(jnp.square(_errors(predictions, targets)), weights, "targets"))


def mean_absolute_error(
    predictions: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None
) -> Mean:
    """Sums absolute errors.

    Args:
      predictions: ``[...]``.
      targets: ``[...]``, in the same units.
      weights: ``[...]``, 0 where nothing is to be counted, or None for ones.

    Returns:
      A `Mean` state, in those units.

    Raises:
      ValueError: shapes differ.

    >>> from mtljax.metrics import compute
    >>> compute(mean_absolute_error([1.0, 2.0], [1.0, 4.0]))
    Array(1., dtype=float32)
    """
    return Mean(*counted(jnp.abs(_errors(predictions, targets)), weights, "targets"))


def _errors(predictions: ArrayLike, targets: ArrayLike):
    values, goals = jnp.asarray(predictions), jnp.asarray(targets)
    check_same_shape(values, goals)
    dtype = jnp.promote_types(jnp.result_type(values, goals), jnp.float32)
    return values.astype(dtype) - goals.astype(dtype)

"""Margin losses of support vector machines."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.losses.checks import as_classes, as_float, as_real, check_shape, nan_outside


def hinge(predictions: ArrayLike, targets: ArrayLike) -> jax.Array:
    r"""Binary hinge loss :math:`\max(0, 1 - y s)` with :math:`y = 2t - 1`.

    Args:
      predictions: scores ``[...]``, floating point, one for each target.
      targets: ``[...]``, 0 or 1 (boolean, integer or float).

    Returns:
      Losses ``[...]``, float32 or wider. The subgradient at the margin is 0.

    Raises:
      TypeError: scores not floating point, or complex targets.
      ValueError: shapes differ.

    >>> hinge(jnp.array([0.5, 2.0]), jnp.array([1, 0]))
    Array([0.5, 3. ], dtype=float32)
    """
    scores = as_float("predictions", predictions)
    labels = as_real("targets", targets, scores.dtype)
    check_shape("targets", labels, scores.shape, "that of predictions")
    return jax.nn.relu(1 - (2 * labels - 1) * scores)


def multiclass_hinge(predictions: ArrayLike, targets: ArrayLike) -> jax.Array:
    r"""Multi-class hinge loss :math:`\max(0, 1 + \max_{c \ne t} s_c - s_t)`.

    Crammer and Singer, "On the Algorithmic Implementation of Multiclass Kernel-based Vector
    Machines", JMLR 2001. With two classes it is `hinge` of :math:`s_1 - s_0`.

    Args:
      predictions: scores ``[..., classes]``, floating point, two classes or more.
      targets: class ids ``[...]``, integer. An id outside ``[0, classes)`` gives NaN.

    Returns:
      Losses ``[...]``, float32 or wider.

    Raises:
      TypeError: scores not floating point, or targets not integer.
      ValueError: shapes do not fit, or fewer than two classes.

    >>> multiclass_hinge(jnp.array([1.0, 0.5, -1.0]), jnp.array(1))
    Array(1.5, dtype=float32)
    """
    scores = as_float("predictions", predictions)
    labels = as_classes("targets", targets)
    if scores.ndim < 1 or scores.shape[-1] < 2:
        raise ValueError(f"predictions must end in two classes or more, got shape {scores.shape}")
    check_shape("targets", labels, scores.shape[:-1], "that of predictions without classes")
    is_target = jnp.arange(scores.shape[-1]) == labels[..., None]
    target_scores = jnp.sum(jnp.where(is_target, scores, 0), axis=-1)
    highest_others = jnp.max(jnp.where(is_target, -jnp.inf, scores), axis=-1)
    return nan_outside(jax.nn.relu(1 + highest_others - target_scores), labels, scores.shape[-1])

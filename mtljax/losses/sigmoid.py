"""Binary cross entropy of one logit."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.losses.checks import as_float, as_real, check_interval, check_shape


def sigmoid(
    predictions: ArrayLike, targets: ArrayLike, label_smoothing: ArrayLike = 0.0
) -> jax.Array:
    r"""Binary cross entropy :math:`-t \log\sigma(z) - (1-t) \log\sigma(-z)` in nats.

    Also the logistic loss of a linear classifier. With `label_smoothing` a the target becomes
    :math:`(1-a) t + a/2`.

    Args:
      predictions: logits ``[...]``, floating point, one for each target.
      targets: ``[...]``, 0 or 1 (boolean, integer or float), or a probability between.
      label_smoothing: a in [0, 1).

    Returns:
      Losses ``[...]``, float32 or wider.

    Raises:
      TypeError: logits not floating point, or complex targets.
      ValueError: shapes differ, or `label_smoothing` is outside [0, 1).

    >>> sigmoid(jnp.zeros(2), jnp.array([0, 1]))
    Array([0.6931472, 0.6931472], dtype=float32)
    """
    logits = as_float("predictions", predictions)
    labels = as_real("targets", targets, logits.dtype)
    check_shape("targets", labels, logits.shape, "that of predictions")
    check_interval("label_smoothing", label_smoothing, 0.0, 1.0)
    labels = jnp.asarray((1 - label_smoothing) * labels + label_smoothing / 2)
    labels = labels.astype(logits.dtype)
    losses = labels * jax.nn.softplus(-logits) + (1 - labels) * jax.nn.softplus(logits)
    return losses

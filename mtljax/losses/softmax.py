"""Cross entropy of a softmax over classes."""

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.typing import ArrayLike

from mtljax.losses.checks import as_classes, as_float, check_interval, check_shape, nan_outside


def softmax(
    predictions: ArrayLike, targets: ArrayLike, label_smoothing: ArrayLike = 0.0
) -> jax.Array:
    r"""Cross entropy :math:`-\sum_c q_c \log \mathrm{softmax}(z)_c` in nats.

    :math:`q` puts :math:`1 - a` on the target and spreads :math:`a` (`label_smoothing`) evenly
    over all classes (Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016).

    Masked-token and tagging losses are this one over ``[..., sequence, classes]``: the weights
    given to `weighted_mean` are 1 at the positions that count and 0 elsewhere.

    Args:
      predictions: logits ``[..., classes]``, floating point.
      targets: class ids ``[...]``, integer. An id outside ``[0, classes)`` gives NaN, which
        `weighted_mean` ignores at weight 0.
      label_smoothing: a in [0, 1).

    Returns:
      Losses ``[...]``, float32 or wider.

    Raises:
      TypeError: logits not floating point, or targets not integer.
      ValueError: shapes do not fit, or `label_smoothing` is outside [0, 1).

    >>> softmax(jnp.zeros((2, 4)), jnp.array([0, 3]))
    Array([1.3862944, 1.3862944], dtype=float32)
    """
    logits = as_float("predictions", predictions)
    labels = as_classes("targets", targets)
    if logits.ndim < 1 or logits.shape[-1] < 1:
        raise ValueError(f"predictions must end in a class axis, got shape {logits.shape}")
    check_shape("targets", labels, logits.shape[:-1], "that of predictions without classes")
    check_interval("label_smoothing", label_smoothing, 0.0, 1.0)
    # Around the maximum, so that a confident prediction keeps a small loss instead of rounding.
    highest = jax.lax.stop_gradient(jnp.max(logits, axis=-1))
    log_z = jnp.log(jnp.sum(jnp.exp(logits - highest[..., None]), axis=-1))
    index = jnp.clip(labels, 0, logits.shape[-1] - 1)
    picked = jnp.take_along_axis(logits, index[..., None], axis=-1)[..., 0]
    losses = log_z - (picked - highest)
    if isinstance(label_smoothing, Tracer) or label_smoothing:
        losses = losses + label_smoothing * (picked - jnp.mean(logits, axis=-1))
    return nan_outside(losses, labels, logits.shape[-1]).astype(logits.dtype)

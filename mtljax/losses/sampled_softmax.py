"""Softmax cross entropy over the target and a sample of the other classes."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.losses.checks import as_classes, check_shape, nan_outside
from mtljax.losses.linear_cross_entropy import check_linear


def sampled_softmax(
    features: ArrayLike,
    table: ArrayLike,
    bias: ArrayLike | None,
    targets: ArrayLike,
    negatives: ArrayLike,
    log_q: ArrayLike,
) -> jax.Array:
    r"""Training loss of a large softmax, at the cost of K classes instead of V.

    With logits :math:`s = W f + b` the sum over classes is replaced by its importance-sampling
    estimate, which is unbiased:

    .. math:: \hat Z = e^{s_t} + \frac1K \sum_{k: c_k \ne t} \frac{e^{s_{c_k}}}{q_{c_k}}, \qquad
       L = \log \hat Z - s_t

    Draws that hit the target are left out (it is counted exactly, once), and duplicates are
    kept: the draws are made with replacement. The loss tends to `softmax` as K grows and is
    below it on average; report `linear_cross_entropy` instead.

    Bengio and Senecal, "Quick Training of Probabilistic Neural Nets by Importance Sampling"
    (2003) and IEEE Trans. Neural Networks 19(4) (2008); Jean, Cho, Memisevic and Bengio, "On
    Using Very Large Target Vocabulary", ACL 2015, which shares the sample among all elements.

    Args:
      features: ``[N, D]``, floating point.
      table: ``[V, D]``, floating point, the output embeddings.
      bias: ``[V]``, floating point, or None.
      targets: class ids ``[N]``, integer. An id outside ``[0, V)`` gives NaN.
      negatives: class ids ``[K]``, integer, shared by all N, drawn with replacement from q.
      log_q: ``[K]``, the natural logs of their probabilities (`draw_negatives` returns both).

    Returns:
      Losses ``[N]`` in nats, float32 or wider.

    Raises:
      TypeError: features, table or bias not floating point, or class ids not integer.
      ValueError: shapes do not fit.
    """
    features, table, bias, targets = check_linear(features, table, bias, targets)
    negatives = as_classes("negatives", negatives)
    log_q = jnp.asarray(log_q)
    if negatives.ndim != 1 or not negatives.size:
        raise ValueError(f"negatives must have shape [K], K >= 1, got {negatives.shape}")
    check_shape("log_q", log_q, negatives.shape, "that of negatives")
    dtype = jnp.promote_types(jnp.result_type(features, table), jnp.float32)

    index = jnp.clip(targets, 0, table.shape[0] - 1)
    target_logits = jnp.einsum("nd,nd->n", features, table[index], preferred_element_type=dtype)
    sampled_logits = jnp.einsum(
        "nd,kd->nk", features, table[negatives], preferred_element_type=dtype
    )
    if bias is not None:
        target_logits = target_logits + bias[index].astype(dtype)
        sampled_logits = sampled_logits + bias[negatives].astype(dtype)
    sampled_logits = sampled_logits - log_q.astype(dtype) - math.log(negatives.size)
    # The lowest finite number, not -inf: its exponential is 0 as well, and its gradient is not
    # NaN where every draw hit the target.
    sampled_logits = jnp.where(negatives == targets[:, None], jnp.finfo(dtype).min, sampled_logits)
    excess = jax.nn.logsumexp(sampled_logits, axis=-1) - target_logits
    return nan_outside(jax.nn.softplus(excess), targets, table.shape[0])

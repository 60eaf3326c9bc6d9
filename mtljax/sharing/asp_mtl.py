"""Shared and private encoders: an adversary that tells tasks apart, and what both repeat."""

import jax
import jax.numpy as jnp


@jax.custom_jvp
def reverse_gradient(x: jax.Array) -> jax.Array:
    """The identity, whose gradient is that of the negative (Ganin and Lempitsky 2015, section 3).

    >>> jax.grad(lambda x: 3 * reverse_gradient(x))(1.0)
    Array(-3., dtype=float32, weak_type=True)
    """
    return x


@reverse_gradient.defjvp
def _reversed_tangent(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple:
    (x,), (tangent,) = primals, tangents
    return x, -tangent


def adversary_loss(logits: jax.Array, segments: jax.Array, task: int) -> jax.Array:
    """How well a linear classifier of a text's mean features says which task it is of.

    Its cross entropy (Liu et al. 2017, equations 8 and 9). The logits of a mean are the mean of the
    logits, so that it needs no features.

    Args:
      logits: ``[R, S, T]``, of each position; made of `reverse_gradient` of shared features, so
        that the classifier is trained for its loss and the encoder against it.
      segments: int ``[R, S]``, which text a position belongs to, 0 for padding.
      task: which of the T tasks the texts are of.

    Returns:
      ``[R]``, the mean over the texts of a row, 0 for a row without; float32 or wider.
    """
    same, share = _texts(segments, logits.dtype)
    means = jnp.einsum("rij,rjt->rit", same * share[:, None], logits.astype(share.dtype))
    values = -jax.nn.log_softmax(means)[..., task]
    return _mean_of_texts(values, share)


def overlap(shared: jax.Array, private: jax.Array, segments: jax.Array) -> jax.Array:
    r"""What private features repeat: :math:`\lVert S^\top P / n \rVert_F^2` of every text.

    Liu et al. 2017, equation 10, whose rows are the n positions of a text, here in the mean over
    these. It is a sum over pairs of positions, ``sum_ij (s_i s_j) (p_i p_j) / n^2``, and so one
    masked sum for all texts that are packed in a row.

    Args:
      shared: ``[R, S, D]``.
      private: ``[R, S, E]``.
      segments: int ``[R, S]``, which text a position belongs to, 0 for padding.

    Returns:
      ``[R]``, the mean over the texts of a row, 0 for a row without; float32 or wider.
    """
    same, share = _texts(segments, jnp.result_type(shared, private))
    one, two = (
        jnp.einsum("rid,rjd->rij", x.astype(share.dtype), x.astype(share.dtype))
        for x in (shared, private)
    )
    return _mean_of_texts(jnp.einsum("rij,rj->ri", same * one * two, share), share)


def _texts(segments: jax.Array, dtype: jax.typing.DTypeLike) -> tuple[jax.Array, jax.Array]:
    """Which positions are of one text, ``[R, S, S]``, and 1 / n for those of n, 0 for padding."""
    same = (segments[:, :, None] == segments[:, None, :]) & (segments > 0)[:, :, None]
    same = same.astype(jnp.promote_types(dtype, jnp.float32))
    sizes = same.sum(-1)
    return same, jnp.where(sizes > 0, 1 / jnp.maximum(sizes, 1), 0)


def _mean_of_texts(values: jax.Array, share: jax.Array) -> jax.Array:
    """The mean over texts of what is said of each position ``[R, S]``, where it is their mean."""
    return jnp.sum(values * share, 1) / jnp.maximum(share.sum(1), 1)

"""IMTL-G: a direction with the same projection on every gradient."""

import jax.numpy as jnp

from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import equal_weights
from mtljax.weighting.common.unit_vectors import active_norms


def imtl_g() -> Weighting:
    r"""The combination whose projections on all the gradients are equal.

    Liu et al., "Towards Impartial Multi-task Learning", ICLR 2021 (IMTL-G). With the weights
    summing to 1, :math:`\langle g_i, d \rangle / |g_i|` is the same number for every task:
    :math:`w = v / \sum_i v_i`, :math:`v_i = y_i / |g_i|`, :math:`K y = 1`, where K holds the
    cosines between the gradients. A ridge of a few units of rounding on K gives the limit in every
    singular case.

    Where the sum of v is negative, the paper's formula *ascends* all tasks, and where it is near
    zero the weights have no bound. The divisor here is
    :math:`\max(\sum_i v_i, 0.1 \sum_i |v_i|)`: then d conflicts with no task and the absolute
    weights sum to 10 at most. Both happen in about 1 of 100 hard cases, with 3 tasks or more.
    Weights may be negative.

    Signals: ``gramian``. Stateless.

    | input | weights |
    |---|---|
    | one task | 1 |
    | orthogonal, or parallel gradients | proportional to 1/norms |
    | identical gradients | 1/m |
    | a zero gradient | 0 for it, the others as without it |
    | all gradients zero | 1/m |
    | opposite gradients, norms 1 and 3 | (3/4, 1/4), d = 0 |

    When to use: no task should dominate by the size of its gradient, and the gradients point in
    clearly different directions.

    Returns:
      A stateless `Weighting`.

    >>> method = imtl_g()
    >>> gramian = jnp.array([[1.0, -3.0], [-3.0, 9.0]])
    >>> method.update(jnp.ones(2), method.init(2), gramian=gramian)[0]
    Array([0.75, 0.25], dtype=float32)
    """

    def update(losses, state, *, present, gramian):
        del losses
        cosines, norms = gramian
        active, _ = active_norms(norms)
        ones = active.astype(cosines.dtype)
        values, vectors = jnp.linalg.eigh(cosines)
        noise = 4 * jnp.sum(active) * jnp.finfo(cosines.dtype).eps
        parts = ones @ vectors
        # Rounding, divided by the ridge, would pass for a weight: what is zero must stay zero.
        parts = jnp.where(jnp.abs(parts) > noise * jnp.sqrt(jnp.sum(ones)), parts, 0)
        y = vectors @ (parts / (values + jnp.maximum(noise, -2 * values[0])))
        shortest = jnp.min(jnp.where(active, norms, jnp.inf))
        v = jnp.where(active, y * (shortest / jnp.where(active, norms, 1)), 0)
        total = jnp.maximum(jnp.sum(v), 0.1 * jnp.sum(jnp.abs(v)))
        defined = total > 0
        weights = v / jnp.where(defined, total, 1)
        return jnp.where(defined, weights, equal_weights(present, "mean")), state

    return guard(
        lambda num_tasks: (),
        update,
        fallback=lambda state, counted: equal_weights(counted, "mean"),
        requires=("gramian",),
    )

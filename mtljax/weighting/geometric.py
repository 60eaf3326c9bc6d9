"""GLS: the geometric mean of the losses."""

import math

import jax.numpy as jnp

from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.log_scale import log_losses
from mtljax.weighting.common.preference import equal_weights


def geometric() -> Weighting:
    r"""Descends along the geometric mean of the losses.

    Chennupati, Sistu, Yogamani and Rawashdeh, "MultiNet++: Multi-Stream Feature Aggregation and
    Geometric Loss Strategy for Multi-Task Learning", CVPR Workshops 2019, arXiv 1904.08492. The
    objective and the weights, its derivatives by the losses, are

    .. math:: F = \Bigl(\prod_i L_i\Bigr)^{1/m}, \qquad w_i = \frac{F}{m L_i}.

    The direction is that of ``sum_i g_i / L_i``: it does not depend on the scale of a loss.
    The weights of equal losses are 1/m.

    Signals: ``losses``. Stateless.

    | input | weights |
    |---|---|
    | equal losses | 1/m |
    | one task | 1 |
    | loss 0 or negative | as for the smallest positive normal number |
    | ratio of a loss to F beyond 1e-19 or 1e19 (float32) | as at that ratio |
    | NaN or infinite loss | 1/m for the other tasks |

    When to use: losses that are positive, differ in scale, and do not come near 0: a task that is
    solved would get all the weight.

    Returns:
      A loss-only `Weighting` without state.

    >>> method = geometric()
    >>> method.update(jnp.array([1.0, 4.0]), method.init(2))[0]
    Array([1.  , 0.25], dtype=float32)
    """

    def update(losses, state, *, present):
        logs = log_losses(losses)
        count = jnp.maximum(jnp.sum(present), 1)
        mean = jnp.sum(jnp.where(present, logs, 0)) / count
        limit = -math.log(jnp.finfo(losses.dtype).tiny) / 2
        return jnp.exp(jnp.clip(mean - logs, -limit, limit)) / count, state

    return guard(
        lambda num_tasks: (),
        update,
        fallback=lambda state, counted: equal_weights(counted, "mean"),
    )

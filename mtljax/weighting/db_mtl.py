"""DB-MTL without its moving average: log losses, gradients of one length."""

import jax.numpy as jnp

from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import equal_weights
from mtljax.weighting.common.unit_vectors import from_unit_weights


def db_mtl() -> Weighting:
    r"""Brings the gradients of the log losses to the length of the longest one.

    Lin et al., "Dual-Balancing for Multi-Task Learning", arXiv 2308.12029, without the moving
    average of the gradients. Those of :math:`\log L_i` are :math:`g_i / L_i`; all are scaled to the
    norm of the longest, and summed: :math:`w_i = \max_k (n_k / L_k) / n_i`. So neither the scale of
    a loss nor the size of its gradient matters. Weights are on the sum scale.

    Signals: ``losses`` and ``gramian_diagonal``: the norms only. Stateless.

    | input | weights |
    |---|---|
    | one task | 1/L |
    | a zero gradient | 0, and so for a loss of 0 or less, which has no logarithm |
    | neither holds for any task | 1 |
    | identical gradients and losses | 1/L |

    When to use: positive losses of different scales, where norms of per-task gradients are
    affordable and moving averages of the gradients (`mtljax.aggregation.db_mtl`) are not.

    Returns:
      A stateless `Weighting`.

    >>> method = db_mtl()
    >>> losses, squares = jnp.array([2.0, 1.0]), jnp.array([16.0, 1.0])
    >>> method.update(losses, method.init(2), gramian_diagonal=squares)[0]
    Array([0.5, 2. ], dtype=float32)
    """

    def update(losses, state, *, present, norms):
        counted = (losses > 0) & (norms > 0)
        limit = jnp.finfo(norms.dtype).max
        lengths = jnp.where(counted, norms / jnp.where(counted, losses, 1), 0)
        longest = jnp.minimum(jnp.max(lengths), limit)
        weights = jnp.where(counted, from_unit_weights(longest, norms), 0)
        return jnp.where(jnp.any(counted), weights, equal_weights(present, "sum")), state

    return guard(
        lambda num_tasks: (),
        update,
        fallback=lambda state, counted: equal_weights(counted, "sum"),
        requires=("losses", "gramian_diagonal"),
    )

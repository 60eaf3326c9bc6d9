"""DualProj: the mean gradient, projected onto the directions without conflict."""

from collections.abc import Sequence

import numpy as np

from mtljax.solvers.dual_cone import dual_cone
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import (
    check_preference,
    equal_weights,
    preference,
    stateless,
)
from mtljax.weighting.common.unit_vectors import from_unit_weights


def dual_proj(pref: Sequence[float] | np.ndarray | None = None) -> Weighting:
    r"""The direction nearest to the mean gradient that conflicts with no task.

    Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NIPS 2017, arXiv
    1706.08840, applied to the mean gradient of all tasks:

    .. math:: d = \arg\min_x |x - g_0|^2 \quad \text{s.t. } \langle g_i, x \rangle \ge 0,
        \qquad g_0 = \sum_i u_i g_i .

    Solved exactly by `solvers.dual_cone`. Weights are on the mean scale; they exceed those of the
    mean where a conflict had to be undone.

    Signals: ``gramian``. Stateless.

    | input | weights |
    |---|---|
    | one task | 1 |
    | the mean conflicts with no task | u, exactly |
    | identical gradients | u |
    | a zero gradient | u_i for it |
    | all gradients zero | u |
    | two opposite gradients, equal norms | 1/2 each: d = 0 |
    | two opposite gradients, norms 1 to 3 | 3/2 and 1/2: d = 0 |
    | stationary: a positive combination is zero | d = 0 |

    When to use: the mean of the losses is the goal, to be left only where a task would suffer.

    Args:
      pref: u, how much each task counts in g0; need not sum to 1. None is 1/m each.

    Returns:
      A stateless `Weighting`. Its `init` raises ValueError if `pref` has another length.

    Raises:
      TypeError: pref is not made of numbers.
      ValueError: pref is negative somewhere, not finite, or all 0.

    >>> import jax.numpy as jnp
    >>> method = dual_proj()
    >>> gramian = jnp.array([[1.0, -2.0], [-2.0, 8.0]])
    >>> method.update(jnp.ones(2), method.init(2), gramian=gramian)[0].round(4)
    Array([1. , 0.5], dtype=float32)
    """
    pref = check_preference(pref)

    def update(losses, state, *, present, gramian):
        del losses
        cosines, norms = gramian
        shares = preference(pref, present, "mean", norms.dtype)
        added = dual_cone(cosines, shares * norms)
        return shares + from_unit_weights(added, norms), state

    return guard(
        stateless(pref),
        update,
        fallback=lambda state, counted: equal_weights(counted, "mean"),
        requires=("gramian",),
    )

"""CAGrad: the best direction for the task that gains least, near the mean gradient."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.solvers.least_change import least_change
from mtljax.weighting.common.arguments import check_count, check_range
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import (
    check_preference,
    equal_weights,
    preference,
    stateless,
)
from mtljax.weighting.common.unit_vectors import from_unit_weights


def cagrad(
    c: float | jax.Array = 0.5,
    rescale: int = 1,
    pref: Sequence[float] | np.ndarray | None = None,
) -> Weighting:
    r"""Maximises the least gain of a task within a ball around the mean gradient.

    Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS 2021, arXiv
    2110.14048:

    .. math:: \max_d \min_i \langle g_i, d \rangle \quad \text{s.t. } |d - g_0| \le c |g_0|,
        \qquad g_0 = \sum_i u_i g_i .

    Solved exactly by `solvers.least_change`, with the answer nearest to g0 where it is not unique.
    With c = 0 it is the mean; with c >= 1 no task gets worse, and d = 0 at stationary points. In
    between the mean of the losses falls to its minimum for small enough steps, and a task may get
    worse. d is longer than g0 even without conflict, hence `rescale`.

    Signals: ``gramian``. Stateless.

    | input | weights before `rescale` |
    |---|---|
    | one task | 1 + c |
    | g0 zero up to rounding, all gradients zero | u |
    | identical gradients | d = (1 + c) g0 |
    | a zero gradient | u_i for it; the least gain is 0, and d stays as near to g0 as it can |
    | no direction improves all | those of `dual_proj`, if they are within the ball |

    When to use: the mean of the losses is the goal, and the worst task should not fall behind on
    the way.

    Args:
      c: radius of the ball relative to g0, 0 or more.
      rescale: the weights are divided by 1 (0), 1 + c^2 (1, the authors' code) or 1 + c (2, with
        which one task gets 1).
      pref: u, how much each task counts in g0; need not sum to 1. None is 1/m each.

    Returns:
      A stateless `Weighting`. Its `init` raises ValueError if `pref` has another length.

    Raises:
      TypeError: pref is not made of numbers.
      ValueError: c is negative or not finite, another `rescale`, or pref is negative somewhere,
        not finite, or all 0.

    >>> method = cagrad(c=1.0, rescale=0)
    >>> method.update(jnp.ones(2), method.init(2), gramian=jnp.eye(2))[0]
    Array([1., 1.], dtype=float32)
    """
    check_range("c", c, 0, jnp.inf, ends="[)")
    if check_count("rescale", rescale, 0) > 2:
        raise ValueError(f"rescale must be 0, 1 or 2, got {rescale}")
    pref = check_preference(pref)
    divisor = (1.0, 1 + c**2, 1 + c)[rescale]

    def update(losses, state, *, present, gramian):
        del losses
        cosines, norms = gramian
        shares = preference(pref, present, "mean", norms.dtype)
        added = least_change(cosines, norms, shares * norms, c, present)
        return (shares + from_unit_weights(added, norms)) / divisor, state

    return guard(
        stateless(pref),
        update,
        fallback=lambda state, counted: equal_weights(counted, "mean"),
        requires=("gramian",),
    )

"""UPGrad: the mean of the gradients, each projected onto the directions without conflict."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
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


def upgrad(pref: Sequence[float] | np.ndarray | None = None) -> Weighting:
    r"""Projects each gradient onto the directions that conflict with no task, and averages.

    Quinton and Rey, "Jacobian Descent for Multi-Objective Optimization", arXiv 2406.16232:

    .. math:: d = \sum_i u_i\, \arg\min_x \{|x - g_i|^2 : \langle g_j, x \rangle \ge 0
        \text{ for all } j\} .

    One problem of `solvers.dual_cone` a task, solved exactly and without regularisation. What a
    task contributes does not depend on the norms of the others: d is linear in the scale of each
    gradient. Weights are on the mean scale; they exceed the mean's where conflicts were undone.

    Signals: ``gramian``. Stateless.

    | input | weights |
    |---|---|
    | one task | 1 |
    | no conflict | u, exactly |
    | a zero gradient | u_i for it, the others as without it |
    | all gradients zero | u |
    | two opposite gradients, equal norms | 1 each: d = 0 |
    | stationary: a positive combination is zero | d = 0 |

    When to use: no task may get worse, and large gradients should still count for more.

    Args:
      pref: u, how much each task counts; need not sum to 1. None is 1/m each.

    Returns:
      A stateless `Weighting`. Its `init` raises ValueError if `pref` has another length.

    Raises:
      TypeError: pref is not made of numbers.
      ValueError: pref is negative somewhere, not finite, or all 0.

    >>> method = upgrad()
    >>> gramian = jnp.array([[1.0, -1.0], [-1.0, 4.0]])
    >>> method.update(jnp.ones(2), method.init(2), gramian=gramian)[0].round(4)
    Array([1.   , 0.625], dtype=float32)
    """
    pref = check_preference(pref)

    def update(losses, state, *, present, gramian):
        del losses
        cosines, norms = gramian
        shares = preference(pref, present, "mean", norms.dtype)
        units = jnp.eye(norms.size, dtype=cosines.dtype)
        added = jax.vmap(dual_cone, in_axes=(None, 0))(cosines, units)
        return shares + from_unit_weights((shares * norms) @ added, norms), state

    return guard(
        stateless(pref),
        update,
        fallback=lambda state, counted: equal_weights(counted, "mean"),
        requires=("gramian",),
    )

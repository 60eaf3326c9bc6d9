"""Nash-MTL: the bargaining solution of Nash."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.solvers.power_balance import power_balance
from mtljax.weighting.common.arguments import check_count, check_positive
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import (
    check_preference,
    equal_weights,
    log_preference,
    stateless,
)
from mtljax.weighting.common.unit_vectors import from_unit_weights
from mtljax.weighting.wrappers.every import every as keep


def nash_mtl(
    max_norm: float | jax.Array | None = 1.0,
    pref: Sequence[float] | np.ndarray | None = None,
    every: int = 1,
) -> Weighting:
    r"""The direction that maximises the product of the tasks' gains.

    Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022, arXiv 2202.01017. Among
    all directions in a ball, the one with the largest :math:`\sum_i \log \langle g_i, d \rangle`
    is :math:`d = \sum_i w_i g_i` with

    .. math:: (G w)_i = 1 / w_i, \quad w > 0.

    Solved in unit gradients by `solvers.power_balance`, without warm start. As
    :math:`|d|^2 = \sum_i w_i (G w)_i = m` for *every* input that has a solution, `max_norm` is not
    a limit for rare cases but, at or below :math:`\sqrt m`, the norm of every step. The direction
    depends on the angles between the gradients only, not on their norms, and conflicts with none.
    The weights have the unit of 1/\|g\|: give heads their own loss, or the weights times
    m / sum(w).

    Signals: ``gramian``. Stateless, unless `every` makes it recompute the weights less often.

    | input | weights |
    |---|---|
    | one task | max_norm / norm of its gradient |
    | orthogonal gradients | proportional to 1/norms |
    | identical gradients | equal |
    | a zero gradient | 0 for it, the others as without it |
    | all gradients zero | 1/m |
    | opposite or stationary | no solution: large and finite, d close to 0 |

    When to use: the scales of the losses say nothing about the importance of the tasks.

    Args:
      max_norm: scales the weights down to this norm of d, positive; None: no scaling.
      pref: ``[T]``, bargaining power of each task, positive, normalised to mean 1 over those
        present: :math:`(G w)_i = \pi_i / w_i`. None is 1 each.
      every: steps for which weights are kept, as by `wrappers.every`.

    Returns:
      A `Weighting`, stateless if `every` is 1. Its `init` raises ValueError if `pref` has another
      length.

    Raises:
      TypeError: pref is not made of numbers, or `every` no integer.
      ValueError: max_norm or pref is not positive and finite, or `every` below 1.

    >>> method = nash_mtl(max_norm=None)
    >>> gramian = jnp.diag(jnp.array([4.0, 0.25]))
    >>> method.update(jnp.ones(2), method.init(2), gramian=gramian)[0]
    Array([0.5, 2. ], dtype=float32)
    """
    if max_norm is not None:
        check_positive("max_norm", max_norm)
    every = check_count("every", every)
    pref = check_preference(pref, zero_allowed=False)

    def update(losses, state, *, present, gramian):
        del losses
        cosines, norms = gramian
        y = power_balance(cosines, 1.0, log_preference(pref, present, cosines.dtype))
        if max_norm is not None:
            length = jnp.sqrt(jnp.maximum(y @ cosines @ y, 0))
            y = y * (max_norm / jnp.maximum(length, max_norm))
        weights = from_unit_weights(y, norms)
        return jnp.where(jnp.any(norms > 0), weights, equal_weights(present, "mean")), state

    method = guard(
        stateless(pref),
        update,
        fallback=lambda state, counted: equal_weights(counted, "mean"),
        requires=("gramian",),
    )
    return keep(method, every)

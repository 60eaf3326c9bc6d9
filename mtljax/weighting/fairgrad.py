"""FairGrad: alpha-fair weights."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from mtljax.solvers.power_balance import power_balance
from mtljax.weighting.common.arguments import check_range
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import (
    check_preference,
    equal_weights,
    log_preference,
    stateless,
)


def fairgrad(
    alpha: float | jax.Array = 1.0, pref: Sequence[float] | np.ndarray | None = None
) -> Weighting:
    r"""The direction that maximises the alpha-fair utility of the tasks' gains.

    Ban and Ji, "Fair Resource Allocation in Multi-Task Learning", ICML 2024, arXiv 2402.15638. The
    utility is :math:`\sum_i \langle g_i, d \rangle^{1-\alpha} / (1-\alpha)`; its maximum in a ball
    is :math:`d = \sum_i w_i g_i` with

    .. math:: (G w)_i = w_i^{-1/\alpha}, \quad w > 0.

    ``alpha=1`` is proportional fairness, `nash_mtl` without its scaling to one norm; a small alpha
    comes near the sum of the gains, which ``alpha=0`` maximises, with weights of 1 and without a
    Gramian; a large one favours the task that gains least. Solved in unit gradients with
    coefficients by `solvers.power_balance`. With alpha above 0 the direction conflicts with no
    task; when all gradients grow by c, it grows by :math:`c^{(1-\alpha)/(1+\alpha)}`.

    Signals: ``gramian``; with ``alpha=0`` the losses alone. Stateless.

    | input | weights |
    |---|---|
    | one task, or orthogonal gradients | norms to the power of -2 alpha / (1 + alpha) |
    | identical gradients | equal |
    | a zero gradient | 0 for it, the others as without it |
    | all gradients zero | 1/m |
    | opposite or stationary | no solution: large and finite, d close to 0 |
    | norms further apart than floats can hold | those of norms less far apart |

    When to use: one number should move between efficiency (small alpha) and fairness (large alpha).

    Args:
      alpha: positive, or 0. One that is traced must be positive.
      pref: ``[T]``, how much the utility of each task counts, positive, normalised to mean 1 over
        those present: :math:`(G w)_i = (w_i / \pi_i)^{-1/\alpha}`. None is 1 each.

    Returns:
      A stateless `Weighting`. Its `init` raises ValueError if `pref` has another length.

    Raises:
      TypeError: pref is not made of numbers.
      ValueError: alpha is negative or not finite, or pref is not positive and finite.

    >>> method = fairgrad(alpha=2.0)
    >>> method.update(jnp.ones(1), method.init(1), gramian=jnp.full((1, 1), 64.0))[0]
    Array([0.0625], dtype=float32)
    """
    check_range("alpha", alpha, 0, jnp.inf, ends="[)")
    pref = check_preference(pref, zero_allowed=False)
    init = stateless(pref)

    def update(losses, state, *, present, gramian):
        del losses
        cosines, norms = gramian
        active = norms > 0
        # With n = nu e^l, nu their geometric mean, and w = nu^a y / n: c = pi^p e^((p-1) l).
        p = 1 / jnp.asarray(alpha, cosines.dtype)
        logs = jnp.log(jnp.where(active, norms, 1))
        mean = jnp.sum(logs) / jnp.maximum(jnp.sum(active), 1)
        factors = (p - 1) * (logs - mean)
        shares = log_preference(pref, present, cosines.dtype)
        factors = factors if shares is None else factors + p * shares
        y = power_balance(cosines, p, jnp.where(active, factors, 0))
        exponent = jnp.log(jnp.where(y > 0, y, 1)) - logs + (p - 1) / (p + 1) * mean
        limits = jnp.finfo(cosines.dtype)
        exponent = jnp.clip(exponent, jnp.log(limits.tiny) + 1, jnp.log(limits.max) - 1)
        weights = jnp.where(active, jnp.exp(exponent), 0)
        return jnp.where(jnp.any(active), weights, equal_weights(present, "mean")), state

    def update_of_the_sum(losses, state, *, present):
        shares = log_preference(pref, present, losses.dtype)
        return jnp.ones_like(losses) if shares is None else jnp.exp(shares), state

    if not isinstance(alpha, Tracer) and alpha == 0:
        return guard(
            init,
            update_of_the_sum,
            fallback=lambda state, counted: equal_weights(counted, "sum"),
            ahead=True,
        )
    return guard(
        init,
        update,
        fallback=lambda state, counted: equal_weights(counted, "mean"),
        requires=("gramian",),
    )

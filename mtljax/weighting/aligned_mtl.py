"""Aligned-MTL: the nearest orthogonal gradients of one length."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.solvers.orthogonal_columns import orthogonal_columns, unit_rows
from mtljax.solvers.pivoted_cholesky import pivoted_cholesky
from mtljax.solvers.spectrum import refined_solution, spectrum
from mtljax.weighting.common.arguments import check_choice
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import check_preference, preference, stateless
from mtljax.weighting.common.unit_vectors import active_norms, from_unit_weights

_SCALES = ("min", "median", "rmse")


def aligned_mtl(scale: str = "min", pref: Sequence[float] | np.ndarray | None = None) -> Weighting:
    r"""Replaces the gradients by the nearest orthogonal ones of one length, and sums these.

    Senushkin et al., "Independent Component Alignment for Multi-Task Learning", CVPR 2023, arXiv
    2305.19000. With the singular values :math:`\sigma_k` of the stacked gradients
    :math:`J = U \Sigma V^\top`, the direction is :math:`\sigma V U^\top \pi`, that is
    :math:`w = U \operatorname{diag}(\sigma / \sigma_k) U^\top \pi`, for the preference
    :math:`\pi`; directions below the numerical rank are left out. The system of gradients then has
    condition number 1, but d may conflict with a task: :math:`\langle g_i, d \rangle =
    \sigma (G^{1/2} \pi)_i`.

    Norms may be far apart: the singular values are those of a factor of the cosines, scaled by the
    norms, and as precise as the cosines are. A gradient counts as dependent on others where the
    sine of its angle to them is below about :math:`\sqrt{m\,\mathrm{eps}}`, 3e-4 for one task to
    3e-3 for 64 in float32: a Gramian does not tell it from zero, and d is discontinuous there.

    Signals: ``gramian``. Stateless.

    | input | weights |
    |---|---|
    | one task | 1 (its pref) |
    | orthogonal gradients of one length | pref |
    | identical gradients | pref, averaged over the tasks |
    | a zero gradient | 0 for it, the others as without it, with their pref |
    | all gradients zero | pref |
    | opposite gradients of one length, equal pref | 0 |
    | nearly parallel gradients | with ``'min'`` d shrinks by their condition number |

    When to use: the sum of the gradients is badly conditioned, a few directions dominating it, and
    the gradients are similar in size.

    Args:
      scale: the common length :math:`\sigma`: ``'min'``, the smallest singular value that is left;
        ``'median'``, their median (the lower one of two); ``'rmse'``, the root of their mean
        square.
      pref: weight of each task's aligned gradient, 0 or more. None is 1/m.

    Returns:
      A stateless `Weighting`. Its `init` raises ValueError if `pref` has another length.

    Raises:
      TypeError: pref is not made of numbers.
      ValueError: another scale, or pref negative, not finite or all 0.

    >>> method = aligned_mtl()
    >>> gramian = jnp.diag(jnp.array([4.0, 1.0]))
    >>> method.update(jnp.ones(2), method.init(2), gramian=gramian)[0]
    Array([0.25, 0.5 ], dtype=float32)
    """
    check_choice("scale", scale, _SCALES)
    pref = check_preference(pref)

    def update(losses, state, *, present, gramian):
        del losses
        cosines, norms = gramian
        active, relative = active_norms(norms)
        shares = preference(pref, present, "mean", cosines.dtype)
        count = jnp.sum(active)
        kept = spectrum(cosines, count * jnp.finfo(cosines.dtype).eps)
        # The left singular vectors times the singular values, both in units of the longest norm.
        columns = orthogonal_columns(pivoted_cholesky(cosines, relative, kept.cutoff))
        left, values = unit_rows(columns.T)
        coefficients = left @ shares
        length = _common_length(values, scale)

        # The cosines of each task with the direction hold the precision of its row. The weights
        # do not where norms are far apart: those of the longest gradients would be rounding.
        safe = jnp.where(relative > 0, relative, 1)
        reached = length * ((columns / safe[:, None]) @ coefficients)
        direct = relative * ((coefficients * length / jnp.where(values > 0, values, 1)) @ left)
        independent = kept.rank == count
        refined = refined_solution(kept, cosines, reached, jnp.where(independent, 0, direct))
        # Of dependent gradients there are many such weights: the shortest ones, if they hold.
        excess = jnp.max(jnp.abs(reached - jnp.matmul(cosines, direct, precision="highest")))
        holds = excess <= kept.cutoff * jnp.max(jnp.abs(reached))
        unit_weights = jnp.where(holds & ~independent, direct, refined)
        weights = from_unit_weights(unit_weights, relative)
        return jnp.where(jnp.any(active), weights, shares), state

    return guard(
        stateless(pref),
        update,
        fallback=lambda state, counted: preference(pref, counted, "mean", float),
        requires=("gramian",),
    )


def _common_length(values: jax.Array, scale: str) -> jax.Array:
    """Returns the length ``sigma`` for singular values ``[T]``, zeros not counted."""
    counted = values > 0
    rank = jnp.sum(counted)
    if scale == "rmse":
        return jnp.sqrt(jnp.sum(values**2) / jnp.maximum(rank, 1))
    ascending = jnp.sort(jnp.where(counted, values, jnp.inf))
    chosen = ascending[jnp.maximum(rank - 1, 0) // 2] if scale == "median" else ascending[0]
    return jnp.where(rank > 0, chosen, 0)

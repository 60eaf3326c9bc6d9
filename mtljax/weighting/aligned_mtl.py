"""Aligned-MTL: the nearest orthogonal gradients of one length."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from mtljax.solvers.spectrum import spectrum
from mtljax.weighting.common.arguments import check_choice
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import check_length, check_preference, preference
from mtljax.weighting.common.unit_vectors import active_norms

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

    Of a Gramian the eigenvalues are the *squares* of the singular values: those below
    :math:`\sqrt{m\,\mathrm{eps}}` of the largest, 3e-4 for one task to 3e-3 for 64 in float32,
    cannot be told from zero. Gradients shorter than that part of the longest are lost, and d is
    discontinuous where one crosses it. Normalise the gradients first if their norms are that far
    apart.

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

    def init(num_tasks):
        check_length(pref, num_tasks)
        return ()

    def update(losses, state, *, present, gramian):
        del losses
        cosines, norms = gramian
        active, relative = active_norms(norms)
        shares = preference(pref, present, "mean", cosines.dtype)
        tolerance = jnp.sum(present) * jnp.finfo(cosines.dtype).eps
        kept = spectrum(cosines * relative[:, None] * relative, tolerance)
        size = relative.size
        # Eigenvalues ascend: those that count are the last ones.
        first = jnp.minimum(size - kept.rank, size - 1)
        if scale == "min":
            square = kept.values[first]
        elif scale == "median":
            square = kept.values[jnp.minimum(first + (kept.rank - 1) // 2, size - 1)]
        else:
            counted = jnp.where(jnp.arange(size) >= first, kept.values, 0)
            square = jnp.sum(counted) / jnp.maximum(kept.rank, 1)
        coefficients = jnp.sqrt(square / kept.values) * (shares @ kept.vectors)
        weights = kept.vectors @ coefficients
        return jnp.where(jnp.any(active), weights, shares), state

    return guard(
        init,
        update,
        fallback=lambda state, counted: preference(pref, counted, "mean", float),
        requires=("gramian",),
    )

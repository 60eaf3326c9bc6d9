"""ConFIG: the direction that has given cosines with all gradients."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.solvers.spectrum import refined_solution, spectrum
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import (
    check_length,
    check_preference,
    equal_weights,
    stateless,
)
from mtljax.weighting.common.unit_vectors import active_norms


def config(pref: Sequence[float] | np.ndarray | None = None) -> Weighting:
    r"""The direction that makes given cosines with all gradients, as long as their projections.

    Liu, Chu and Thuerey, "ConFIG: Towards Conflict-Free Training of Physics Informed Neural
    Networks", ICLR 2025, arXiv 2408.11104. With the unit gradients as the rows of U,
    :math:`x = U^+ \pi` and :math:`\hat x = x / |x|`, the direction is
    :math:`d = (\sum_i \langle g_i, \hat x \rangle) \hat x`. In terms of the cosines K between the
    gradients and their norms n: :math:`y = K^+ \pi`,
    :math:`w_i = (y_i / n_i) (n^\top K y) / (y^\top K y)`.

    Linearly independent gradients never conflict with d; with dependent ones, the cosines are the
    given ones in the least-squares sense and can be negative. Weights are on the sum scale and may
    be negative.

    Unit gradients whose condition number exceeds :math:`(4 T \mathrm{eps})^{-1/2}` (in float32 650
    for 5 tasks) count as dependent ones, which rounding may make them. Before that the direction is
    off by eps times that number at most (2e-5 at 256), beyond by up to 1e-3. The exact Gramian,
    rounded once to float32 and solved in float64, has 1e-5 at 512 and 3e-5 at 1024: who needs more
    has to solve on the gradients themselves, or in float64.

    Signals: ``gramian``. Stateless.

    | input | weights |
    |---|---|
    | one task | 1 |
    | two identical gradients | (1, 1) |
    | orthogonal gradients, equal pref | sum of the norms, over m and over each norm |
    | a zero gradient | 0 for it, the others as without it |
    | all gradients zero | 1 |
    | opposite gradients | 0 if the prefs are equal: no direction has two such cosines |
    | stationary with equal pref for unit gradients | 0 |

    When to use: all tasks should progress at rates that are fixed beforehand, such as equal ones.

    Args:
      pref: ``[T]``, the cosines up to a common factor, 0 or more. None is 1 each.

    Returns:
      A stateless `Weighting`. Its `init` raises ValueError if `pref` has another length.

    Raises:
      TypeError: pref is not made of numbers.
      ValueError: pref is negative, not finite or all 0.

    >>> method = config()
    >>> gramian = jnp.array([[4.0, 0.0], [0.0, 1.0]])
    >>> method.update(jnp.ones(2), method.init(2), gramian=gramian)[0]
    Array([0.75, 1.5 ], dtype=float32)
    """
    pref = check_preference(pref)
    # Only their ratios matter: a uniform preference becomes ones exactly, and the same as None.
    ratios = None if pref is None else pref / pref.max()

    def goal(active: jax.Array, dtype) -> jax.Array:
        """The cosines ``[T]`` to reach, up to a common factor."""
        check_length(ratios, active.size)
        return jnp.where(active, 1 if ratios is None else jnp.asarray(ratios, dtype), 0)

    def update(losses, state, *, present, gramian):
        del losses
        cosines, norms = gramian
        dtype = cosines.dtype
        active, relative = active_norms(norms)
        target = goal(active, dtype).astype(dtype)
        tolerance = 4 * jnp.sum(active) * jnp.finfo(dtype).eps
        kept = spectrum(cosines, tolerance)
        parts = target @ kept.vectors
        # Independent gradients reach any cosines. Of dependent ones, rounding of what should be
        # zero must not become a direction.
        independent = kept.rank == jnp.sum(active)
        length = jnp.sqrt(jnp.sum(target**2))
        parts = jnp.where(jnp.abs(parts) > kept.cutoff * length, parts, 0)
        reached = jnp.where(independent, target, kept.vectors @ parts)
        y = refined_solution(kept, cosines, reached)
        square = jnp.maximum(y @ reached, 0)
        gain = relative @ reached
        limit = jnp.finfo(dtype).max
        factor = gain / jnp.where(square > 0, square, 1)
        weights = y * factor / jnp.where(relative > 0, relative, 1)
        weights = jnp.where(relative > 0, jnp.clip(weights, -limit, limit), 0)
        return jnp.where(jnp.any(active), weights, equal_weights(present, "sum")), state

    return guard(
        stateless(ratios),
        update,
        fallback=lambda state, counted: equal_weights(counted, "sum"),
        requires=("gramian",),
    )

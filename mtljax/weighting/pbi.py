"""PBI: penalty-based boundary intersection."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.weighting.common.arguments import check_each, check_range, each
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import check_length, check_preference, preference
from mtljax.weighting.common.unit_vectors import unit_vector


def pbi(
    weights: Sequence[float] | np.ndarray | None = None,
    theta: float | jax.Array = 5.0,
    ideal: float | Sequence[float] | np.ndarray = 0.0,
) -> Weighting:
    r"""Descends along a ray of losses, and towards it.

    Zhang and Li, "MOEA/D: A Multiobjective Evolutionary Algorithm Based on Decomposition", IEEE
    Transactions on Evolutionary Computation 2007. With the unit vector :math:`\hat r` of the
    preference and the ideal point z, the objective and its derivatives by the losses are

    .. math:: F = d_1 + \theta d_2, \quad d_1 = \hat r^\top (L - z), \quad
       d_2 = |L - z - d_1 \hat r|, \qquad
       w = \hat r + \theta \frac{L - z - d_1 \hat r}{d_2}.

    Its minimum lies where the ray meets the Pareto front. A weight is negative where a loss is too
    small for the ray, and theta large enough.

    Signals: ``losses``. Stateless.

    | input | weights |
    |---|---|
    | losses on the ray, or equal to z | r of length 1: 1/sqrt(m) each for a uniform preference |
    | one task | 1 |
    | losses of any size or sign | between -theta and 1 + theta |
    | distance to the ray within rounding | as on the ray |
    | all tasks present have preference 0 | the second term alone |
    | NaN or infinite loss | r of length 1 for the other tasks |

    When to use: sweeps that look for a Pareto-optimal point at a given ratio of the losses, such as
    equal losses.

    Args:
      weights: ``[T]``, 0 or more, the direction of the ray; None for equal losses.
      theta: pull towards the ray, 0 or more.
      ideal: z, a number or ``[T]``, where the ray starts.

    Returns:
      A loss-only `Weighting` without state. Its `init` raises ValueError if `weights` or `ideal`
      has another number of tasks.

    Raises:
      TypeError: not numbers.
      ValueError: a preference below 0 or all 0, theta negative, or a number that is not finite.

    >>> method = pbi([3.0, 4.0], theta=1.0)
    >>> method.update(jnp.array([6.0, 8.0]), method.init(2))[0].round(2)
    Array([0.6, 0.8], dtype=float32)
    """
    pref = check_preference(weights, name="weights")
    check_range("theta", theta, 0, float("inf"))
    point = check_each("ideal", ideal)

    def init(num_tasks):
        check_length(pref, num_tasks, "weights")
        each("ideal", point, num_tasks)
        return ()

    def ray(present: jax.Array, dtype) -> jax.Array:
        return unit_vector(preference(pref, present, "mean", dtype))[0]

    def update(losses, state, *, present):
        along = ray(present, losses.dtype)
        # Halved, since the difference of the largest numbers would overflow.
        above_ideal = losses / 2 - jnp.asarray(each("ideal", point, losses.size) / 2, losses.dtype)
        unit, _ = unit_vector(jnp.where(present, above_ideal, 0))
        across = unit - jnp.sum(along * unit) * along
        noise = 8 * losses.size * jnp.finfo(losses.dtype).eps
        across, distance = unit_vector(across)
        return along + theta * jnp.where(distance > noise, across, 0), state

    return guard(init, update, fallback=lambda state, counted: ray(counted, jnp.zeros(()).dtype))

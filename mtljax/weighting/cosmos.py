"""COSMOS: a weighted sum that rewards losses in proportion to a preference."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mtljax.weighting.common.arguments import check_range
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import check_preference, preference, stateless
from mtljax.weighting.common.unit_vectors import unit_vector


def cosmos(
    weights: Sequence[float] | np.ndarray | None = None, lam: float | jax.Array = 1.0
) -> Weighting:
    r"""Descends along the weighted sum, less the cosine of losses and preference.

    Ruchte and Grabocka, "Scalable Pareto Front Approximation for Deep Multi-Objective Learning"
    (COSMOS), ICDM 2021, arXiv 2103.13392. With a preference r, the objective and its derivatives
    by the losses are

    .. math:: F = r^\top L - \lambda \frac{r^\top L}{|r| |L|}, \qquad
       w_i = r_i - \lambda \Bigl(\frac{r_i}{|r| |L|} - \frac{r^\top L \, L_i}{|r| |L|^3}\Bigr).

    The second term turns the losses towards the ray of the preference. It is in units of 1/L:
    lambda depends on the size of the losses. The paper draws a new r for each batch and feeds it to
    the network; here it is an option. A weight may be negative.

    Signals: ``losses``. Stateless.

    | input | weights |
    |---|---|
    | losses in proportion to the preference, within rounding | r |
    | one task | r, 1 by default |
    | all losses 0 | r: the cosine is not defined |
    | losses of any size or sign | finite; large for small losses |
    | NaN or infinite loss | r of the other tasks |

    When to use: sweeps over preferences in which the weighted sum of the losses should still lead;
    `pbi` follows the preference more strictly.

    Args:
      weights: ``[T]``, 0 or more; None for 1/m each.
      lam: weight of the cosine, 0 or more.

    Returns:
      A loss-only `Weighting` without state. Its `init` raises ValueError if `weights` has another
      number of tasks.

    Raises:
      TypeError: weights not numbers.
      ValueError: a preference below 0, all 0 or not finite, or lam negative or not finite.

    >>> method = cosmos([0.5, 0.5], lam=1.0)
    >>> method.update(jnp.array([3.0, 4.0]), method.init(2))[0].tolist()
    [0.477, 0.517]
    """
    pref = check_preference(weights, name="weights")
    check_range("lam", lam, 0, float("inf"))

    def update(losses, state, *, present):
        shares = preference(pref, present, "mean", losses.dtype)
        along, _ = unit_vector(shares)
        towards, length = unit_vector(losses)
        across = along - jnp.sum(along * towards) * towards
        noise = 8 * losses.size * jnp.finfo(losses.dtype).eps
        turned = (jnp.sum(across**2) > noise**2) & (length > 0)
        limit = jnp.finfo(losses.dtype).max / 4
        correction = jnp.where(turned, lam * across / jnp.where(length > 0, length, 1), 0)
        return jnp.clip(shares - jnp.clip(correction, -limit, limit), -limit, limit), state

    return guard(
        stateless(pref, name="weights"),
        update,
        fallback=lambda state, counted: preference(pref, counted, "mean", jnp.zeros(()).dtype),
    )

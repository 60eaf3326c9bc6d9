"""Equal weights: the mean or the sum of the losses."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from mtljax.weighting.common.arguments import check_choice
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import (
    SCALES,
    check_preference,
    equal_weights,
    preference,
    stateless,
)


def equal(scale: str = "mean", pref: Sequence[float] | np.ndarray | None = None) -> Weighting:
    """The same weight for every task: the mean or the sum of the losses.

    Linear in the scale of each task, homogeneous, permutation-equivariant.

    Signals: ``losses``. Stateless.

    | input | weights |
    |---|---|
    | m tasks present | 1/m each (``'mean'``), 1 each (``'sum'``) |
    | one task | 1 |
    | any finite losses | the same |
    | a preference | itself; its sum stays where tasks are absent |
    | NaN or infinite loss | equal weights of the others |

    When to use: first, as the baseline to compare with; and where the tasks agree.

    Args:
      scale: ``'mean'`` or ``'sum'``.
      pref: ``[T]``, 0 or more, used instead of the weights of `scale`; need not sum to 1.

    Returns:
      A loss-only `Weighting`. Its `init` raises ValueError if `pref` has another length.

    Raises:
      TypeError: pref is not made of numbers.
      ValueError: another scale; pref with a negative number, not finite or all 0.

    >>> method = equal()
    >>> method.update(jnp.array([1.0, 5.0]), method.init(2))[0]
    Array([0.5, 0.5], dtype=float32)
    """
    check_choice("scale", scale, SCALES)
    pref = check_preference(pref)

    def weigh(present, dtype):
        if pref is None:
            return equal_weights(present, scale)
        return preference(pref, present, scale, dtype)

    return guard(
        stateless(pref),
        lambda losses, state, *, present: (weigh(present, losses.dtype), state),
        fallback=lambda state, counted: weigh(counted, jnp.zeros(()).dtype),
        ahead=True,
    )

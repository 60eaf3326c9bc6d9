"""Fixed weights."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import finite_vector, stateless


def fixed(weights: Sequence[float] | np.ndarray) -> Weighting:
    """Weights that are given once and for all, in the order of the tasks.

    They are not normalised: an absent task does not change the weights of the others.

    Signals: ``losses``. Stateless.

    | input | weights |
    |---|---|
    | any finite losses | as given |
    | one task | as given |
    | NaN or infinite loss | 0 for it, the others as given |

    When to use: the weights are known, for example from a search.

    Args:
      weights: ``[T]`` finite numbers. One below 0 makes its loss grow.

    Returns:
      A loss-only `Weighting`. Its `init` raises ValueError if the number of tasks is not T.

    Raises:
      TypeError: not numbers.
      ValueError: no numbers, more than one axis, or not finite.

    >>> method = fixed([1.0, 4.0])
    >>> method.update(jnp.array([1.0, 5.0]), method.init(2))[0]
    Array([1., 4.], dtype=float32)
    """
    vector = finite_vector(weights, "weights")

    def update(losses, state, *, present):
        del present
        if losses.size != vector.size:
            raise ValueError(f"losses has {losses.size} tasks, but weights {vector.size}")
        return jnp.asarray(vector, losses.dtype), state

    return guard(
        stateless(vector, name="weights"),
        update,
        fallback=lambda state, counted: jnp.asarray(vector, jnp.float32),
        ahead=True,
    )

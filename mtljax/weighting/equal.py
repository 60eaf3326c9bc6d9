"""Equal weights."""

from mtljax.weighting.arguments import check_choice
from mtljax.weighting.contract import Weighting
from mtljax.weighting.guard import guard
from mtljax.weighting.trivial import SCALES, trivial_weights


def equal(scale: str = "mean") -> Weighting:
    """The same weight for every task: the mean or the sum of the losses.

    No state. Linear in the scale of each task, homogeneous, permutation-equivariant.

    | input | weights |
    |---|---|
    | m tasks present | 1/m each (``'mean'``), 1 each (``'sum'``) |
    | one task | 1 |
    | any finite losses | the same |

    Args:
      scale: ``'mean'`` or ``'sum'``.

    Returns:
      A loss-only `Weighting`.

    Raises:
      ValueError: another scale.

    >>> import jax.numpy as jnp
    >>> method = equal()
    >>> method.update(jnp.array([1.0, 5.0]), method.init(2))[0]
    Array([0.5, 0.5], dtype=float32)
    """
    check_choice("scale", scale, SCALES)

    def update(losses, state, *, present):
        del losses
        return trivial_weights(present, scale), state

    return guard(
        lambda num_tasks: (),
        update,
        fallback=lambda state, counted: trivial_weights(counted, scale),
    )

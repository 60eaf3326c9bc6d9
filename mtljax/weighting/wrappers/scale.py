"""Weights scaled to sum to 1, or to the number of tasks."""

import jax.numpy as jnp

from mtljax.weighting.common.arguments import check_choice
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import SCALES


def scale(weighting: Weighting, to: str = "mean") -> Weighting:
    """Multiplies the weights of a method such that their sizes sum to 1 or to m.

    Methods differ by a factor m in what they generalise: the mean of the gradients or their sum.
    This gives any of them either scale, so that one learning rate fits, and makes weights in units
    of 1/L or 1/|g| free of units. It has no state of its own.

    | input | weights |
    |---|---|
    | weights of 0 or more | they sum to 1 (``'mean'``) or m (``'sum'``) |
    | weights of both signs | their absolute values do, so that the direction keeps its sign |
    | all weights 0 | 0 |
    | NaN or infinite number | what the method answers, scaled for the other tasks |

    When to use: in place of `rescale`, where the length of the direction should follow the
    gradients.

    Args:
      weighting: the method.
      to: ``'mean'`` or ``'sum'``.

    Returns:
      A `Weighting` that reads the same signals and has the same state.

    Raises:
      ValueError: another scale.

    >>> from mtljax.weighting import fixed
    >>> method = scale(fixed([1.0, 3.0]))
    >>> method.update(jnp.ones(2), method.init(2))[0]
    Array([0.25, 0.75], dtype=float32)
    """
    check_choice("to", to, SCALES)

    def update(losses, state, *, mask=None, **signals):
        weights, state = weighting.update(losses, state, mask=mask, **signals)

        def scaled(counted):
            sizes = jnp.where(counted, jnp.abs(weights), 0)
            largest = jnp.max(sizes)
            nonzero = largest >= jnp.finfo(sizes.dtype).tiny
            # Divided by the largest first: the sum of what a float can hold may be infinite.
            relative = weights / jnp.where(nonzero, largest, 1)
            total = jnp.sum(sizes / jnp.where(nonzero, largest, 1))
            goal = jnp.sum(counted) if to == "sum" else 1
            return jnp.where(nonzero, relative * (goal / jnp.where(nonzero, total, 1)), weights)

        method = guard(
            lambda num_tasks: (),
            lambda losses, state, *, present, **others: (scaled(present), state),
            fallback=lambda state, counted: scaled(counted),
            requires=weighting.requires,
        )
        return method.update(losses, (), mask=mask, **signals)[0], state

    return Weighting(weighting.init, update, weighting.requires, weighting.ahead)

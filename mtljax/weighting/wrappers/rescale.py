"""Weights scaled such that the direction has a given length."""

import jax
import jax.numpy as jnp

from mtljax.weighting.common.arguments import check_choice, check_positive
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard

_LENGTHS = ("mean", "sum", "max", "primary")


def rescale(weighting: Weighting, to: str | float | jax.Array = "mean") -> Weighting:
    r"""Multiplies the weights of a method such that the direction has a given length.

    With the gradients :math:`g_i` of the m tasks that are present, the length
    :math:`|d| = (w^\top G w)^{1/2}` of the direction becomes

    - ``'mean'``: that of the mean gradient, :math:`|\sum_i g_i| / m`;
    - ``'sum'``: that of their sum;
    - ``'max'``: the largest :math:`|g_i|`;
    - ``'primary'``: :math:`|g_1|`, of the first task;
    - a number: that number.

    Methods then compare at one learning rate. It has no state of its own. A direction counts as 0
    if :math:`|d|^2 \le \epsilon (\sum_i |w_i| |g_i|)^2` with the rounding unit of the Gramian, for
    less cannot be told from 0.

    | input | weights |
    |---|---|
    | direction 0, up to the rounding of a Gramian | unchanged |
    | one task | d = g; for a number, the unit vector of g times that number |
    | mean gradient 0 (``'mean'``, ``'sum'``) | 0 |
    | first task absent (``'primary'``) | unchanged |
    | norms of any size | finite |
    | NaN or infinite number | what the method answers |

    When to use: the length that a method gives to its direction means little: weights in units of
    1/|g|, or gradients that nearly cancel.

    Args:
      weighting: the method.
      to: one of the names, or a positive number.

    Returns:
      A `Weighting` that also reads ``gramian``, with the state of the method.

    Raises:
      ValueError: another name, or a number that is not positive and finite.

    >>> from mtljax.weighting import equal
    >>> method = rescale(equal(), to="max")
    >>> gramian = jnp.array([[9.0, 0.0], [0.0, 16.0]])
    >>> method.update(jnp.ones(2), method.init(2), gramian=gramian)[0].round(2)  # |d| = 4
    Array([0.8, 0.8], dtype=float32)
    """
    if isinstance(to, str):
        check_choice("to", to, _LENGTHS)
    else:
        check_positive("to", to)
    requires = weighting.requires | {"gramian"}

    def goal(cosines: jax.Array, norms: jax.Array, present: jax.Array) -> jax.Array:
        """Returns the length to reach; a negative one where there is none."""
        if not isinstance(to, str):
            return jnp.asarray(to, norms.dtype)
        if to == "max":
            return jnp.max(norms)
        if to == "primary":
            return jnp.where(present[0], norms[0], -1)
        total = _length(norms, cosines)[0]
        return total / jnp.maximum(jnp.sum(present), 1) if to == "mean" else total

    def update(losses, state, *, mask=None, **signals):
        weights, state = weighting.update(losses, state, mask=mask, **signals)

        def scaled(losses, none, *, present, gramian, **others):
            del losses, others
            cosines, norms = gramian
            limit = jnp.finfo(norms.dtype).max / 4
            length, resolved = _length(jnp.clip(weights * norms, -limit, limit), cosines)
            target = goal(cosines, norms, present)
            resolved &= target >= 0
            # Applied in two steps: the quotient alone may overflow where the product does not.
            rescaled = weights / jnp.where(resolved, length, 1) * jnp.where(resolved, target, 1)
            return jnp.clip(rescaled, -limit, limit), none

        method = guard(
            lambda num_tasks: (),
            scaled,
            fallback=lambda none, counted: weights,
            requires=requires,
        )
        return method.update(losses, (), mask=mask, **signals)[0], state

    return Weighting(weighting.init, update, requires)


def _length(unit_weights: jax.Array, cosines: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Length of a sum of multiples of unit vectors, and whether it is more than rounding."""
    sizes = jnp.abs(unit_weights)
    largest = jnp.max(sizes)
    nonzero = largest >= jnp.finfo(sizes.dtype).tiny
    shares = unit_weights / jnp.where(nonzero, largest, 1)
    square = jnp.maximum(jnp.sum(shares[:, None] * cosines * shares), 0)
    resolved = square > jnp.finfo(sizes.dtype).eps * jnp.sum(jnp.abs(shares)) ** 2
    return largest * jnp.sqrt(square), nonzero & resolved

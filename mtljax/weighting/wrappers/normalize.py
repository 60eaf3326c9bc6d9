"""Gradients divided by their sizes before a method sees them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.weighting.common.arguments import check_choice, check_range
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard

_SIZES = ("l2", "loss", "loss+", "ema")
_UNSCALED = frozenset({"cross_gramian", "validation_gradients"})


class NormalizeState(NamedTuple):
    """The state of the method inside, and root mean square norms ``[T]`` (``'ema'`` only)."""

    inner: Any
    sizes: jax.Array


class Sizes(NamedTuple):
    """Sizes ``[T]`` and their mean over the tasks present."""

    sizes: jax.Array
    mean: jax.Array


def normalize(
    weighting: Weighting,
    by: str = "l2",
    decay: float | jax.Array = 0.9,
    keep_size: bool = False,
) -> Weighting:
    r"""Divides the gradients by their sizes before a method sees them.

    The method gets the Gramian of the gradients :math:`q_i g_i`, and its weights :math:`w'` become
    :math:`w_i = q_i w'_i`: the direction is a combination of the scaled gradients. The factors are

    - ``'l2'``: :math:`1 / |g_i|`;
    - ``'loss'``: :math:`1 / |L_i|`;
    - ``'loss+'``: :math:`1 / (|L_i| |g_i|)`;
    - ``'ema'``: one over the root of the moving average of :math:`|g_i|^2`, which starts at the
      first norm that is not 0.

    The first three are the choices of Sener and Koltun, "Multi-Task Learning as Multi-Objective
    Optimization", NeurIPS 2018, arXiv 1810.04650, in their published code. With ``'l2'`` any method
    becomes independent of the scale of each gradient. The losses reach the method as they are.

    | input | weights |
    |---|---|
    | one task | q times that of the method |
    | gradient or loss of size 0 | 0; the method sees a gradient that is 0 |
    | losses below 0 | by their size |
    | sizes of any range | finite |
    | NaN or infinite number | what the method answers, without q; the averages are unchanged |

    When to use: losses have no common unit, and the direction of the method follows the largest or
    the smallest gradient.

    Args:
      weighting: the method.
      by: the size, one of the names above.
      decay: of the moving average, in [0, 1); ``'ema'`` only.
      keep_size: multiplies the weights by the mean size, so that the step keeps its length.

    Returns:
      A `Weighting` with a `NormalizeState`, that also reads ``gramian_diagonal`` if `by` needs
      norms and the method reads no Gramian.

    Raises:
      ValueError: another size, decay outside [0, 1), or a method that reads products of gradients
        of several batches.

    >>> from mtljax.weighting import equal
    >>> method = normalize(equal())
    >>> weights, _ = method.update(
    ...     jnp.ones(2), method.init(2), gramian_diagonal=jnp.array([4.0, 16.0])
    ... )
    >>> weights
    Array([0.25 , 0.125], dtype=float32)
    """
    check_choice("by", by, _SIZES)
    check_range("decay", decay, 0, 1, ends="[)")
    if weighting.requires & _UNSCALED:
        names = ", ".join(sorted(weighting.requires & _UNSCALED))
        raise ValueError(f"weighting must not read {names}")
    norms_of = "gramian" if "gramian" in weighting.requires else "gramian_diagonal"
    requires = weighting.requires if by == "loss" else weighting.requires | {norms_of}

    def init(num_tasks):
        return NormalizeState(weighting.init(num_tasks), jnp.zeros(num_tasks))

    def sizes(losses: jax.Array, norms: jax.Array | float, before: jax.Array) -> jax.Array:
        limit = jnp.finfo(losses.dtype).max / 128
        if by == "loss":
            return jnp.minimum(jnp.abs(losses), limit)
        if by == "loss+":
            return jnp.minimum(jnp.abs(losses) * norms, limit)
        if by == "ema":
            # The larger one is factored out of the root, where its square would overflow.
            largest = jnp.maximum(before, norms)
            unit = jnp.where(largest > 0, largest, 1)
            mean = decay * (before / unit) ** 2 + (1 - decay) * (norms / unit) ** 2
            norms = jnp.where(before > 0, largest * jnp.sqrt(mean), norms)
        return jnp.minimum(norms, limit)

    def factors(losses, state, *, present, gramian=None, norms=1.0, **others):
        """Returns q, and the state with the sizes that it was made of."""
        del others
        norms = norms if gramian is None else gramian.norms
        lengths = sizes(losses, norms, state.sizes)
        if by == "loss+":
            # The product of the inverses may be finite where the product underflows.
            limit = jnp.finfo(losses.dtype).max / 4
            inverse = jnp.minimum(_inverse(jnp.abs(losses)) * _inverse(norms), limit)
        else:
            inverse = _inverse(lengths)
        return inverse, Sizes(lengths, jnp.sum(lengths) / jnp.maximum(jnp.sum(present), 1))

    sizing = guard(
        lambda num_tasks: None,
        factors,
        fallback=lambda state, counted: jnp.ones(counted.shape),
        requires=requires,
        per_task=("sizes",),
    )

    def update(losses, state, *, mask=None, row_scale=None, **signals):
        start = Sizes(state.sizes, jnp.ones((), state.sizes.dtype))
        q, new = sizing.update(losses, start, mask=mask, row_scale=row_scale, **signals)
        limit = jnp.finfo(q.dtype).max / 4
        scale = jnp.minimum(q if row_scale is None else q * row_scale, limit)
        weights, inner = weighting.update(
            losses, state.inner, mask=mask, row_scale=scale, **signals
        )
        # Where a number is not finite, q and the mean are both 1.
        if keep_size:
            q = jnp.minimum(q * new.mean, limit)
        weights = jnp.clip(q * weights, -limit, limit)
        return weights, NormalizeState(inner, new.sizes if by == "ema" else state.sizes)

    return Weighting(init, update, requires)


def _inverse(numbers: jax.Array | float) -> jax.Array:
    """Returns 1/x ``[T]``, 0 for what a normal number cannot be the inverse of."""
    numbers = jnp.asarray(numbers)
    invertible = numbers >= jnp.finfo(numbers.dtype).tiny
    return jnp.where(invertible, 1 / jnp.where(invertible, numbers, 1), 0)

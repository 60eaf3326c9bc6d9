"""PCGrad (gradient surgery): conflicting components are projected away."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.keys import keyed, random_orders
from mtljax.weighting.common.preference import equal_weights
from mtljax.weighting.common.unit_vectors import from_unit_coefficients


class PCGradState(NamedTuple):
    """The words of a PRNG key: uint32 ``[2]`` for JAX's default generator."""

    key: jax.Array


def pcgrad(seed: int | jax.Array = 0) -> Weighting:
    r"""Projects each gradient off those it conflicts with, and sums the results.

    Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, arXiv 2001.06782. Each
    task's gradient visits all the others, in an independent random order: where its inner product
    with :math:`g_j` is negative, its component along :math:`g_j` is removed. The direction is the
    sum of the changed gradients. Only the coefficients of the changed gradients are kept, so that
    the Gramian is enough. Weights are on the sum scale. With two tasks d conflicts with neither;
    with more it may, since a later projection can undo an earlier one.

    Signals: ``gramian``. State: a key. The order changes from step to step; a resumed run draws
    the same ones.

    | input | weights |
    |---|---|
    | one task | 1 |
    | no conflict | 1 |
    | a zero gradient | 1, as if nothing conflicted with it |
    | two gradients, product c < 0 | 1 - c/n_1^2 and 1 - c/n_2^2 |
    | two opposite gradients | d = 0 |

    When to use: conflicts are few, and the sum of the gradients is right without them.

    Args:
      seed: an integer, or a JAX PRNG key.

    Returns:
      A `Weighting` with a `PCGradState`.

    Raises:
      TypeError: the seed is neither integer nor key.
      ValueError: more than one key.

    >>> method = pcgrad()
    >>> gramian = jnp.array([[1.0, -1.0], [-1.0, 4.0]])
    >>> method.update(jnp.ones(2), method.init(2), gramian=gramian)[0]
    Array([2.  , 1.25], dtype=float32)
    """
    start, draw = keyed(seed)

    def update(losses, state, *, present, gramian):
        del losses
        cosines, norms = gramian
        size = norms.size
        key, words = draw(state.key)
        orders = random_orders(key, size)
        tasks = jnp.arange(size)

        def visit(step: jax.Array, coefficients: jax.Array) -> jax.Array:
            other = orders[:, step]
            product = jnp.sum(coefficients * cosines[other], axis=1)
            product = jnp.where(other == tasks, 0, jnp.minimum(product, 0))
            return coefficients - jnp.where(other[:, None] == tasks, product[:, None], 0)

        # Row i holds the i-th gradient, divided by its norm, in terms of the unit gradients.
        changed = lax.fori_loop(0, size, visit, jnp.eye(size, dtype=cosines.dtype))
        return from_unit_coefficients(changed, norms), PCGradState(words)

    return guard(
        lambda num_tasks: PCGradState(start()),
        update,
        fallback=lambda state, counted: equal_weights(counted, "sum"),
        requires=("gramian",),
    )

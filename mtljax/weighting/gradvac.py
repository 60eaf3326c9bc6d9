"""GradVac (gradient vaccine): cosines are raised to what they usually are."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mtljax.weighting.common.arguments import check_range
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.keys import keyed, random_orders
from mtljax.weighting.common.preference import equal_weights
from mtljax.weighting.common.unit_vectors import from_unit_coefficients


class GradVacState(NamedTuple):
    """Target cosines ``targets [T, T]`` and the words of a PRNG key."""

    targets: jax.Array
    key: jax.Array


def gradvac(beta: float | jax.Array = 0.5, seed: int | jax.Array = 0) -> Weighting:
    r"""Moves gradients towards each other until their cosines reach a moving average.

    Wang, Tsvetkov, Firat and Cao, "Gradient Vaccine: Investigating and Improving Multi-task
    Optimization in Massively Multilingual Models", ICLR 2021, arXiv 2010.05874. As in `pcgrad`,
    each gradient visits all the others, in an independent random order. Let q be the norm of the
    gradient, as changed so far, and c its cosine with :math:`g_j`: if c is below the target
    :math:`\phi_{ij}`, there is added

    .. math::
       q \frac{\phi \sqrt{1 - c^2} - c \sqrt{1 - \phi^2}}{|g_j| \sqrt{1 - \phi^2}} g_j,

    after which the cosine is the target. In any case the target becomes
    :math:`(1 - \beta) \phi_{ij} + \beta c`. Targets start at 0, so that the first step is that of
    `pcgrad`. Weights are on the sum scale; d may conflict with a task.

    Signals: ``gramian``. State: the targets and a key.

    | input | weights | targets |
    |---|---|---|
    | one task | 1 | |
    | first step | those of `pcgrad` | beta times the cosines, of changed gradients |
    | no cosine below its target | 1 | move towards the cosines |
    | a zero gradient | 1 | move towards 0 |
    | a changed gradient that is zero, to rounding | not changed any more | move towards 0 |
    | an absent task | 0 | its row and column unchanged |

    When to use: in place of `pcgrad`, where tasks that usually agree should be kept in agreement.

    Args:
      beta: weight of the new cosine in the average, from 0 to 1. The paper uses 1e-2.
      seed: an integer, or a JAX PRNG key.

    Returns:
      A `Weighting` with a `GradVacState`.

    Raises:
      TypeError: the seed is neither integer nor key.
      ValueError: beta is out of range, or more than one key.

    >>> method = gradvac(beta=0.25)
    >>> gramian = jnp.array([[1.0, -1.0], [-1.0, 4.0]])
    >>> weights, state = method.update(jnp.ones(2), method.init(2), gramian=gramian)
    >>> weights
    Array([2.  , 1.25], dtype=float32)
    >>> state.targets
    Array([[ 0.   , -0.125],
           [-0.125,  0.   ]], dtype=float32)
    """
    check_range("beta", beta, 0, 1)
    start, draw = keyed(seed)

    def init(num_tasks):
        return GradVacState(jnp.zeros((num_tasks, num_tasks)), start())

    def update(losses, state, *, present, gramian):
        del losses
        cosines, norms = gramian
        size, dtype = norms.size, cosines.dtype
        key, words = draw(state.key)
        orders = random_orders(key, size)
        tasks = jnp.arange(size)
        eps = jnp.finfo(dtype).eps
        bound = 1 - 4 * eps
        targets = jnp.clip(state.targets.astype(dtype), -bound, bound)

        def visit(step: jax.Array, carry: tuple[jax.Array, jax.Array, jax.Array]):
            """All gradients visit one other each; row i is that of task i."""
            coefficients, products, seen = carry  # products: of changed with unit gradients
            other = orders[:, step]
            visited = (other[:, None] == tasks) & (tasks[:, None] != tasks)
            row = cosines[other]
            square = jnp.sum(coefficients * products, axis=1)
            noise = 4 * size * eps * jnp.sum(jnp.abs(coefficients), axis=1) ** 2
            norm = jnp.sqrt(jnp.where(square > noise, square, 0))
            product = jnp.sum(jnp.where(visited, products, 0), axis=1)
            cosine = jnp.clip(product / jnp.where(norm > 0, norm, 1), -bound, bound)
            cosine = jnp.where(norm > 0, cosine, 0)
            target = jnp.sum(jnp.where(visited, targets, 0), axis=1)
            gain = norm * (target * jnp.sqrt((1 - cosine**2) / (1 - target**2)) - cosine)
            nonzero = row[tasks, other] > 0  # not a zero gradient
            gain = jnp.where(nonzero & (cosine < target), gain, 0)[:, None]
            coefficients = coefficients + jnp.where(visited, gain, 0)
            products = products + jnp.where(other == tasks, 0, 1)[:, None] * gain * row
            return coefficients, products, jnp.where(visited, cosine[:, None], seen)

        identity = jnp.eye(size, dtype=dtype)
        changed, _, seen = lax.fori_loop(
            0, size, visit, (identity, cosines, jnp.zeros_like(identity))
        )
        moved = (1 - beta) * state.targets + beta * seen
        moved = jnp.where(present[:, None] & present, moved, state.targets)
        return from_unit_coefficients(changed, norms), GradVacState(moved, words)

    return guard(
        init,
        update,
        fallback=lambda state, counted: equal_weights(counted, "sum"),
        requires=("gramian",),
        per_task=("targets",),
    )

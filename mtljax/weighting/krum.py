"""The gradients that lie closest to their neighbours."""

import jax
import jax.numpy as jnp

from mtljax.weighting.common.arguments import check_count
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import equal_weights
from mtljax.weighting.common.unit_vectors import active_norms


def krum(num_byzantine: int = 1, num_selected: int = 1) -> Weighting:
    r"""Averages the gradients with the smallest squared distances to their nearest neighbours.

    Blanchard, El Mhamdi, Guerraoui and Stainer, "Machine Learning with Adversaries: Byzantine
    Tolerant Gradient Descent", NeurIPS 2017. The score of a task is the sum of the
    :math:`m - f - 2` smallest :math:`|g_i - g_j|^2`, j != i, with f the number of tasks that may be
    arbitrarily wrong. The k tasks of the lowest scores get 1/k each (Multi-Krum for k > 1).

    Signals: ``gramian``. Stateless.

    | input | weights |
    |---|---|
    | scores that tie | the lowest index wins |
    | m = f + 3, one neighbour each | mutual neighbours always tie |
    | identical gradients | 1/k for the first k |
    | a zero row | a gradient like any other |
    | all rows zero | 1/m |
    | fewer than f + 3 tasks present | one neighbour counts |
    | fewer than k tasks present | 1/m |

    To prefer when some gradients may be corrupt, and the others estimate the same thing.

    Args:
      num_byzantine: f, 0 or more.
      num_selected: k, 1 or more.

    Returns:
      A stateless `Weighting`. Its `init` raises ValueError for fewer than f + 3 or k tasks.

    Raises:
      TypeError: a number is no integer.
      ValueError: a number is too small.

    >>> method = krum()
    >>> rows = jnp.array([[0.0, 1.0], [0.1, 1.0], [0.25, 1.0], [9.0, -5.0]])
    >>> method.update(jnp.ones(4), method.init(4), gramian=rows @ rows.T)[0]
    Array([1., 0., 0., 0.], dtype=float32)
    """
    byzantine = check_count("num_byzantine", num_byzantine, 0)
    selected = check_count("num_selected", num_selected)

    def init(num_tasks):
        if num_tasks < byzantine + 3:
            raise ValueError(
                f"num_byzantine: {byzantine} needs {byzantine + 3} tasks or more, got {num_tasks}"
            )
        if num_tasks < selected:
            raise ValueError(f"num_selected: {selected} of {num_tasks} tasks")
        return ()

    def update(losses, state, *, present, gramian):
        del losses
        cosines, norms = gramian
        active, relative = active_norms(norms)
        # |a - b|^2 = (|a| - |b|)^2 + 2 |a| |b| (1 - cos): no difference of large numbers.
        both = relative[:, None] * relative
        distances = (relative[:, None] - relative) ** 2 + 2 * both * (1 - cosines)
        pairs = present[:, None] & present & ~jnp.eye(norms.size, dtype=bool)
        # Of m - 1 distances all but f + 1 count, and one does in any case.
        farthest = jnp.clip(jnp.sum(present) - 2, 0, byzantine + 1)
        scores = _without_largest(distances, pairs, farthest)
        best = jax.lax.top_k(jnp.where(present, -scores, -jnp.inf), selected)[1]
        chosen = jnp.zeros(norms.size, bool).at[best].set(True) & present
        chosen = jnp.where(jnp.any(active), chosen, present)
        return equal_weights(chosen, "mean"), state

    return guard(
        init,
        update,
        fallback=lambda state, counted: equal_weights(counted, "mean"),
        requires=("gramian",),
    )


def _without_largest(values: jax.Array, counted: jax.Array, number: jax.Array) -> jax.Array:
    """Sums the columns of ``[T, T]`` where `counted`, each without its `number` largest entries.

    Entries are 0 or more, but for rounding. It takes them away one after the other, which is ten
    times faster on a CPU than the sort of XLA for T = 64. Equal entries go at once, and what went
    too many is put back.
    """

    def take(_, carry):
        left, to_go, back = carry
        top = jnp.max(jnp.where(left, values, -1), axis=0)
        equal = left & (values == top) & (to_go > 0)
        many = jnp.sum(equal, axis=0)
        back = back + top * jnp.maximum(many - to_go, 0)
        return left & ~equal, jnp.maximum(to_go - many, 0), back

    zero = jnp.zeros(len(values), values.dtype)
    carry = (counted, jnp.full(len(values), number), zero)
    left, _, back = jax.lax.fori_loop(0, number, take, carry)
    return jnp.sum(jnp.where(left, values, 0), axis=0) + back

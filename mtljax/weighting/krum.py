"""The gradients that lie closest to their neighbours."""

import jax.numpy as jnp

from mtljax.weighting.arguments import check_count
from mtljax.weighting.contract import Weighting
from mtljax.weighting.guard import guard
from mtljax.weighting.trivial import trivial_weights
from mtljax.weighting.unit_weights import active_norms


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
        nearest = jnp.sort(jnp.where(pairs, distances, jnp.inf), axis=1)
        count = jnp.sum(present)
        neighbours = jnp.clip(count - byzantine - 2, 1, jnp.maximum(count - 1, 1))
        scores = jnp.sum(jnp.where(jnp.arange(norms.size) < neighbours, nearest, 0), axis=1)
        scores = jnp.minimum(scores, jnp.finfo(scores.dtype).max)  # a task alone has no distance
        best = jnp.argsort(jnp.where(present, scores, jnp.inf), stable=True)[:selected]
        chosen = jnp.zeros(norms.size, bool).at[best].set(True) & present
        chosen = jnp.where(jnp.any(active), chosen, present)
        return trivial_weights(chosen, "mean"), state

    return guard(
        init,
        update,
        fallback=lambda state, counted: trivial_weights(counted, "mean"),
        requires=("gramian",),
    )

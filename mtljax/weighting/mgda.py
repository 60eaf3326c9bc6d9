"""MGDA: the shortest convex combination of the gradients."""

import jax
import jax.numpy as jnp

from mtljax.solvers.min_norm import min_norm
from mtljax.weighting.common.arguments import check_choice
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.common.preference import equal_weights
from mtljax.weighting.common.unit_vectors import from_unit_weights

_NORMALIZE = ("l2", "loss", "loss+")


def mgda(normalize: str | None = None) -> Weighting:
    r"""The multiple gradient descent algorithm: steepest common descent.

    Désidéri, "Multiple-gradient descent algorithm (MGDA) for multiobjective optimization", Comptes
    Rendus Mathématique 2012; Sener and Koltun, "Multi-Task Learning as Multi-Objective
    Optimization", NeurIPS 2018, arXiv 1810.04650:

    .. math:: w = \arg\min \{ |\sum_i w_i g_i|^2 : w \ge 0, \sum_i w_i = 1 \} .

    Every task gains at least :math:`|d|^2`, and d is zero at every Pareto-stationary point. Solved
    exactly by `solvers.min_norm`. Short gradients get most of the weight; `normalize` divides each
    gradient before the combination by

    - ``'l2'``: its norm; d then depends on the angles only;
    - ``'loss'``: its loss;
    - ``'loss+'``: both.

    Without it the weights sum to 1; with it, they sum to 1 in terms of the divided gradients.

    Signals: ``losses``, ``gramian``. Stateless.

    | input | weights |
    |---|---|
    | one task | 1 (before division) |
    | orthogonal gradients | proportional to 1/norm^2 |
    | identical gradients | equal |
    | parallel gradients of different norms | all on the shortest |
    | opposite gradients, norms 1 to 3 | 3/4 and 1/4: d = 0 |
    | zero gradients | equal on these, 0 elsewhere: d = 0 |
    | a loss of 0 or less, ``'loss'`` or ``'loss+'`` | as if a machine epsilon of the largest one |
    | no loss above 0 | as if the losses were equal |

    When to use: all tasks must improve at every step, however small the step becomes.

    Args:
      normalize: None, ``'l2'``, ``'loss'`` or ``'loss+'``.

    Returns:
      A stateless `Weighting`.

    Raises:
      ValueError: another `normalize`.

    >>> method = mgda()
    >>> gramian = jnp.diag(jnp.array([1.0, 4.0]))
    >>> method.update(jnp.ones(2), method.init(2), gramian=gramian)[0]
    Array([0.8, 0.2], dtype=float32)
    """
    if normalize is not None:
        check_choice("normalize", normalize, _NORMALIZE)

    def update(losses, state, *, present, gramian):
        cosines, norms = gramian
        if normalize is None:
            return min_norm(cosines, norms, present), state
        alive = (norms > 0).astype(norms.dtype)
        lengths = alive if normalize in ("l2", "loss+") else norms
        if normalize == "l2":
            weights, sizes = min_norm(cosines, lengths, present), jnp.ones_like(norms)
        else:
            sizes = _positive(losses, present).astype(norms.dtype)
            relative = sizes / jnp.max(sizes)
            weights = min_norm(cosines, lengths / relative, present)
        weights = jnp.minimum(weights / sizes, jnp.finfo(norms.dtype).max)
        divided = weights if normalize == "loss" else from_unit_weights(weights, norms)
        # A zero gradient has no norm to divide by: d = 0 whatever its weight.
        return jnp.where(present & (norms == 0), weights, divided), state

    return guard(
        lambda num_tasks: (),
        update,
        fallback=lambda state, counted: equal_weights(counted, "mean"),
        requires=("losses", "gramian"),
    )


def _positive(losses: jax.Array, present: jax.Array) -> jax.Array:
    """Returns losses ``[T]`` that can be divisors; 1 if none is above zero."""
    largest = jnp.max(jnp.where(present, losses, 0), initial=0)
    info = jnp.finfo(losses.dtype)
    floor = jnp.maximum(info.eps * largest, info.tiny)
    return jnp.where(largest > 0, jnp.where(present, jnp.maximum(losses, floor), largest), 1)

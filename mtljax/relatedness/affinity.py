"""What a step of one task does for another, from gradients."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from mtljax.gradients import combine
from mtljax.solvers import unit_gramian


class Conflicts(NamedTuple):
    """How the gradients of T tasks lie to each other.

    Attributes:
      cosines: ``[T, T]``, symmetric, ones on the diagonal; zeros for a gradient of zero.
      share: the share of pairs of tasks whose gradients have a negative inner product, a scalar;
        of a single task 0.
    """

    cosines: jax.Array
    share: jax.Array


def conflicts(gramian: ArrayLike) -> Conflicts:
    """Tells which tasks' gradients point apart.

    Conflict is of a moment, and of the direction of steep descent alone: tasks that conflict early
    may help each other in the end. Average over steps, and read `lookahead_affinity` beside it.

    Args:
      gramian: ``[T, T]``, inner products of the tasks' gradients.

    Returns:
      `Conflicts`.

    >>> conflicts(jnp.array([[1.0, -2.0, 0.5], [-2.0, 4.0, 1.0], [0.5, 1.0, 1.0]])).share
    Array(0.33333334, dtype=float32)
    """
    cosines = unit_gramian(gramian).cosines
    size = cosines.shape[0]
    pairs = size * (size - 1) // 2
    negative = jnp.sum(jnp.triu(cosines < 0, 1))
    return Conflicts(cosines, negative / max(pairs, 1))


def first_order_affinity(
    losses: ArrayLike, gramian: ArrayLike, learning_rate: ArrayLike = 1.0
) -> jax.Array:
    r"""Estimates `lookahead_affinity` from what a step has computed anyway.

    .. math:: 1 - L_j(w - \eta g_i) / L_j(w) \approx \eta \langle g_i, g_j \rangle / L_j(w)

    the Taylor series that Fifty et al. (2021, section 3) explain their measure by. Linear in the
    learning rate, so only the scale depends on it: it costs no pass at all, and says nothing about
    how far a step may go.

    Args:
      losses: ``[T]``.
      gramian: ``[T, T]``, inner products of their gradients for the shared parameters.
      learning_rate: of the step that is imagined.

    Returns:
      ``[T, T]``, from a row onto a column; 0 onto a task whose loss is 0.

    >>> first_order_affinity(jnp.array([1.0, 2.0]), jnp.array([[4.0, 1.0], [1.0, 2.0]]), 0.1)
    Array([[0.4 , 0.05],
           [0.1 , 0.1 ]], dtype=float32)
    """
    losses, gramian = jnp.asarray(losses), jnp.asarray(gramian)
    learned = losses == 0
    share = gramian * learning_rate / jnp.where(learned, 1, losses)
    return jnp.where(learned, 0, share)


def lookahead_affinity(
    losses: Callable[[Any], jax.Array], shared: Any, task_grads: Any, learning_rate: ArrayLike
) -> jax.Array:
    r"""Measures what a step of each task alone does to the loss of every task.

    The affinity of TAG (Fifty et al., "Efficiently Identifying Task Groupings for Multi-Task
    Learning", NeurIPS 2021, equation 1),

    .. math:: Z_{ij} = 1 - L_j(w - \eta g_i, \theta_j) / L_j(w, \theta_j) ,

    to be averaged over the steps of a run. Heads are as they are, inside of `losses`.

    Args:
      losses: the losses ``[T]`` of the batch at shared parameters.
      shared: the shared parameters.
      task_grads: their gradients ``[T, *param]``, as `mtljax.gradients.task_gradients` returns.
      learning_rate: of the steps; that of the run, times what its optimizer makes of a gradient.

    Returns:
      ``[T, T]``, from a row onto a column; 0 onto a task whose loss is 0.

    >>> def losses(w):
    ...     return jnp.array([(w - 1) @ (w - 1), (w + 1) @ (w + 1)])
    >>> w = jnp.zeros(2)
    >>> lookahead_affinity(losses, w, jax.jacobian(losses)(w), 0.1)[0].tolist()
    [0.36, -0.44]
    """
    before = losses(shared)

    def after(task: jax.Array) -> jax.Array:
        step = combine(task, task_grads)
        return losses(
            jax.tree.map(lambda w, g: (w - learning_rate * g).astype(w.dtype), shared, step)
        )

    learned = before == 0
    ratios = jax.lax.map(after, jnp.eye(before.size, dtype=before.dtype))
    return jnp.where(learned, 0, 1 - ratios / jnp.where(learned, 1, before))

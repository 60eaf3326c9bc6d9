"""GradDrop: entries of one sign are kept, coordinate by coordinate."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from optax.experimental import aggregating

from mtljax.aggregation.guard import guard
from mtljax.aggregation.task_axis import counted_gradients, per_task
from mtljax.weighting.common.arguments import check_count
from mtljax.weighting.common.keys import keyed


class GradDropState(NamedTuple):
    """The words of a PRNG key: uint32 ``[2]`` for JAX's default generator."""

    key: jax.Array


def graddrop(
    num_tasks: int,
    *,
    leak: float | Sequence[float] = 0.0,
    seed: int | jax.Array = 0,
    keep: Callable[[jax.Array], jax.Array] | None = None,
) -> aggregating.Aggregator:
    r"""Keeps the positive or the negative entries of each coordinate, at random.

    Chen, Ngiam, Huang, Luong, Kretzschmar, Chai and Anguelov, "Just Pick a Sign", NeurIPS 2020,
    arXiv 2010.06808. In each coordinate the positive entries are kept with probability
    :math:`f(p), p = (1 + \sum_i g_i / \sum_i |g_i|)/2`, else the negative ones, and
    :math:`d = \sum_i (\ell_i + (1-\ell_i) M_i) g_i` with the mask M and the leak :math:`\ell`. On
    the sum scale. Its expectation is the sum of the gradients only where their signs agree.

    | input | direction |
    |---|---|
    | one task; gradients whose signs agree | their sum |
    | leak 1 | their sum |
    | opposite gradients g and -g | g or -g, by coordinate |
    | a coordinate that is 0 in all gradients | 0 |
    | absent task, or one whose gradient or loss is not finite | the method on the others |
    | no task left | 0, and the key stays |

    Signals: the gradients.

    When to use: many tasks on one large network, where conflicts are a matter of single
    coordinates; it reads no losses and costs no Gramian.

    Args:
      num_tasks: T.
      leak: share of each gradient that always passes, in [0, 1], for all tasks or one for each.
      seed: an integer, or a JAX PRNG key.
      keep: f, from p ``[*param]`` to probabilities of its shape and dtype; it should not fall. None
        is p itself; ``lambda p: p > 0.5`` keeps the sign of the larger sum, without chance.

    Returns:
      An Optax aggregator with a `GradDropState`. Its `update` takes leaves ``[T, *param]``, and
      ``mask [T]`` and ``losses [T]`` as optional keywords.

    Raises:
      TypeError: the seed is neither integer nor key, or `keep` is no function.
      ValueError: a leak outside [0, 1], not one for each task, or no tasks.

    >>> method = graddrop(2)
    >>> grads = jnp.array([[1.0, 2.0, 0.0], [3.0, 2.0, -1.0]])
    >>> method.update(grads, method.init(jnp.zeros(3)))[0]
    Array([ 4.,  4., -1.], dtype=float32)
    """
    tasks = check_count("num_tasks", num_tasks)
    leaks = np.asarray(leak, np.float64)
    if leaks.shape not in ((), (tasks,)):
        raise ValueError(f"leak must be one number or {tasks}, got {leak!r}")
    if not ((leaks >= 0) & (leaks <= 1)).all():
        raise ValueError(f"leak must be in [0, 1], got {leak!r}")
    if keep is not None and not callable(keep):
        raise TypeError(f"keep must be a function, got {keep!r}")
    leaks = np.broadcast_to(leaks, tasks)
    start, draw = keyed(seed)

    def init(params: Any) -> GradDropState:
        del params
        return GradDropState(start())

    def aggregate(task_grads, state, *, counted):
        key, words = draw(state.key)

        def drop(index: int, leaf: Any) -> jax.Array:
            gradients = counted_gradients(counted, leaf)
            leaf_key = jax.random.fold_in(key, index)
            leaf_leaks = per_task(jnp.asarray(leaks, gradients.dtype), gradients)
            return _drop(leaf_key, gradients, leaf_leaks, keep)

        leaves, structure = jax.tree.flatten(task_grads)
        direction = structure.unflatten([drop(i, leaf) for i, leaf in enumerate(leaves)])
        words = jnp.where(jnp.any(counted), words, state.key)
        return direction, GradDropState(words)

    return guard(tasks, init, aggregate)


def _drop(
    key: jax.Array,
    gradients: jax.Array,
    leaks: jax.Array,
    keep: Callable[[jax.Array], jax.Array] | None,
) -> jax.Array:
    """Sums ``[T, *param]`` over the tasks: in each coordinate the entries of one sign, drawn."""
    positive = jnp.sum(jnp.maximum(gradients, 0), axis=0)
    negative = jnp.sum(jnp.maximum(-gradients, 0), axis=0)
    # (1 + sum g / sum |g|) / 2 without the difference: exactly 1 or 0 where all signs agree.
    total = positive + negative
    chance = positive / jnp.where(total > 0, total, 1)
    chance = chance if keep is None else keep(chance)
    signs = jnp.where(jax.random.uniform(key, total.shape, total.dtype) < chance, 1, -1)
    kept = (gradients * signs > 0).astype(gradients.dtype)
    return jnp.sum((leaks + (1 - leaks) * kept) * gradients, axis=0)

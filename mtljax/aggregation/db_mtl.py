"""DB-MTL: moving averages of the gradients of the log losses, made equally long."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from optax.experimental import aggregating

from mtljax.aggregation.guard import guard
from mtljax.aggregation.task_axis import counted_gradients, per_task, zeros_per_task
from mtljax.gradients import combine, scaled_gramian_diagonal
from mtljax.weighting.common.arguments import check_count, check_range


class DBMTLState(NamedTuple):
    """What is carried from step to step.

    Attributes:
      tracked: ``[T, *param]``, float32 or wider, the moving averages of ``g_i / L_i``.
      count: int32 ``[T]``, steps in which each task took part.
    """

    tracked: Any
    count: jax.Array


def db_mtl(
    num_tasks: int, *, beta: float | jax.Array = 0.9, beta_decay: float | jax.Array = 0.0
) -> aggregating.Aggregator:
    r"""Balances losses by the logarithm, and tracked gradients by their lengths.

    Lin, Jiang, Ye, Zhang, Chen, Chen, Liu and Kwok, "Dual-Balancing for Multi-Task Learning",
    arXiv 2308.12029. The gradient of :math:`\log L_i` is :math:`g_i / L_i`, and

    - :math:`e_i \leftarrow \beta_t e_i + (1 - \beta_t) g_i / L_i`, from 0, with
      :math:`\beta_t = \beta t^{-b}`;
    - :math:`d = \max_k |e_k| \sum_i e_i / |e_i|`.

    Every task contributes the same length, that of the longest: the sum scale. A loss multiplied
    by a constant changes nothing. ``beta = 0`` is the weighting `mtljax.weighting.db_mtl`, which
    keeps no copies of the parameters.

    | input | direction |
    |---|---|
    | one task | its moving average |
    | a moving average of 0 | that task adds nothing |
    | opposite gradients | 0 |
    | a loss of 0 or below, whose logarithm has no gradient | the method on the others |
    | absent task, or one whose gradient or loss is not finite | the method on the others |
    | no task left | 0, and the state stays |

    Signals: the gradients and ``losses``.

    When to use: losses that differ in scale and are all positive, where T more copies of the
    shared parameters fit in memory.

    Args:
      num_tasks: T.
      beta: first share of the past, in [0, 1).
      beta_decay: its power of 1/t, 0 or more. Each task has a counter t of its own.

    Returns:
      An Optax aggregator with a `DBMTLState`. Its `update` takes leaves ``[T, *param]`` and the
      keyword ``losses [T]``, and raises ValueError without it; ``mask [T]`` is optional.

    Raises:
      ValueError: an option out of range, or no tasks.

    >>> method = db_mtl(2, beta=0.0)
    >>> grads = jnp.array([[2.0, 0.0], [0.0, 1.0]])
    >>> method.update(grads, method.init(jnp.zeros(2)), losses=jnp.array([0.5, 1.0]))[0]
    Array([4., 4.], dtype=float32)
    """
    tasks = check_count("num_tasks", num_tasks)
    check_range("beta", beta, 0, 1, ends="[)")
    check_range("beta_decay", beta_decay, 0, float("inf"))

    def init(params: Any) -> DBMTLState:
        return DBMTLState(zeros_per_task(params, tasks), jnp.zeros(tasks, jnp.int32))

    def aggregate(task_grads, state, *, counted, losses):
        counted = counted & (losses > 0)
        count = state.count + counted
        decay = beta * jnp.maximum(count, 1.0) ** -beta_decay

        def track(old: jax.Array, leaf: Any) -> jax.Array:
            # Small losses make gradients longer than any float can hold.
            limit = jnp.finfo(old.dtype).max ** 0.75
            divisor = per_task(jnp.where(counted, losses, 1).astype(old.dtype), old)
            gradients = counted_gradients(counted, leaf).astype(old.dtype)
            gradients = jnp.clip(gradients / divisor, -limit, limit)
            new = old + per_task(1 - decay.astype(old.dtype), old) * (gradients - old)
            return jnp.where(per_task(counted, old), new, old)

        tracked = jax.tree.map(track, state.tracked, task_grads)
        squares, scale = scaled_gramian_diagonal(tracked, counted)
        norms = jnp.where(counted, jnp.sqrt(squares) * scale, 0)
        inverse = jnp.where(norms > 0, 1 / jnp.where(norms > 0, norms, 1), 0)
        # Divided first, then multiplied: the ratio of two norms need not be representable.
        longest = jnp.max(norms)
        units = combine(inverse, tracked)
        direction = jax.tree.map(lambda leaf: longest.astype(leaf.dtype) * leaf, units)
        return direction, DBMTLState(tracked, count)

    return guard(tasks, init, aggregate, requires=("losses",))

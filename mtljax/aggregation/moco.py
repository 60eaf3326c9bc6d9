"""MoCo: weights from moving averages of the gradients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from optax.experimental import aggregating

from mtljax.aggregation.guard import guard
from mtljax.aggregation.task_axis import counted_gradients, per_task, zeros_per_task
from mtljax.gradients import combine, scaled_gramian
from mtljax.solvers import unit_gramian
from mtljax.solvers.simplex import project_simplex
from mtljax.weighting.common.arguments import check_count, check_positive, check_range


class MoCoState(NamedTuple):
    """What is carried from step to step.

    Attributes:
      tracked: ``[T, *param]``, float32 or wider, the moving averages of the gradients.
      weights: ``[T]``.
      count: int32 ``[T]``, steps in which each task took part.
      step: int32, steps in which any did.
    """

    tracked: Any
    weights: jax.Array
    count: jax.Array
    step: jax.Array


def moco(
    num_tasks: int,
    *,
    beta: float | jax.Array = 0.5,
    beta_decay: float | jax.Array = 0.5,
    gamma: float | jax.Array = 0.1,
    gamma_decay: float | jax.Array = 0.5,
    rho: float | jax.Array = 0.0,
) -> aggregating.Aggregator:
    r"""Min-norm weights followed by gradient descent, on tracked gradients.

    Fernando, Shen, Liu, Chaudhury, Murugesan and Chen, "Mitigating Gradient Bias in
    Multi-Objective Learning", ICLR 2023, arXiv 2210.12624. With step sizes
    :math:`\beta_t = \beta t^{-b}` and :math:`\gamma_t = \gamma t^{-c}`,

    - :math:`y_i \leftarrow y_i - \beta_t (y_i - g_i)`, from 0;
    - :math:`\lambda \leftarrow \Pi(\lambda - \gamma_t (Y Y^\top + \rho I) \lambda)`, from 1/m, with
      the projection onto the simplex;
    - :math:`d = Y^\top \lambda`.

    The weights sum to 1. The method depends on the scale of the gradients through gamma. Each
    task has a counter of its own for :math:`\beta_t`.

    | input | direction |
    |---|---|
    | first step | beta times the combined gradients |
    | one task | its moving average |
    | gradients of 0 | the moving averages fade; weights stay once they are 0 |
    | very large gradients | the weight goes to the shortest tracked gradient |
    | absent task, or one whose gradient or loss is not finite | the method on the others |
    | no task left | 0, and the state stays |

    Signals: the gradients.

    When to use: in place of `mgda`, where the gradients are noisy and T more copies of the shared
    parameters fit in memory.

    Args:
      num_tasks: T.
      beta: first step size of the moving averages, in (0, 1].
      beta_decay: its power of 1/t, 0 or more.
      gamma: first step size of the weights, positive.
      gamma_decay: its power of 1/t, 0 or more.
      rho: pulls the weights to 1/m, 0 or more.

    Returns:
      An Optax aggregator with a `MoCoState`. Its `update` takes leaves ``[T, *param]``, and
      ``mask [T]`` and ``losses [T]`` as optional keywords.

    Raises:
      ValueError: an option out of range, or no tasks.

    >>> method = moco(2)
    >>> grads = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> method.update(grads, method.init(jnp.zeros(2)))[0]
    Array([0.25, 0.25], dtype=float32)
    """
    tasks = check_count("num_tasks", num_tasks)
    check_range("beta", beta, 0, 1, ends="(]")
    check_positive("gamma", gamma)
    for name, value in (("beta_decay", beta_decay), ("gamma_decay", gamma_decay), ("rho", rho)):
        check_range(name, value, 0, float("inf"))

    def init(params: Any) -> MoCoState:
        weights = jnp.full(tasks, 1 / tasks, float)
        counts = jnp.zeros(tasks, jnp.int32)
        step = jnp.zeros((), jnp.int32)
        return MoCoState(zeros_per_task(params, tasks), weights, counts, step)

    def aggregate(task_grads, state, *, counted):
        step = state.step + jnp.any(counted)
        count = state.count + counted
        step_sizes = jnp.where(counted, beta * jnp.maximum(count, 1.0) ** -beta_decay, 0)

        def track(old: jax.Array, leaf: Any) -> jax.Array:
            gradients = counted_gradients(counted, leaf).astype(old.dtype)
            return old + per_task(step_sizes.astype(old.dtype), old) * (gradients - old)

        tracked = jax.tree.map(track, state.tracked, task_grads)
        used = jax.tree.map(lambda leaf: counted_gradients(counted, leaf), tracked)
        unit = unit_gramian(*scaled_gramian(used, counted))
        # A task that comes back brings its old weight along; the others have summed to 1 since.
        weights = project_simplex(state.weights.astype(unit.norms.dtype), counted)
        gradient = unit.norms * (unit.cosines @ (unit.norms * weights)) + rho * weights
        limit = jnp.finfo(gradient.dtype).max ** 0.5
        rate = gamma * jnp.maximum(step, 1.0) ** -gamma_decay
        moved = weights - jnp.clip(rate * jnp.clip(gradient, -limit, limit), -limit, limit)
        weights = jnp.where(counted, project_simplex(moved, counted), 0)
        direction = combine(weights, used)
        kept = jnp.where(counted, weights, state.weights).astype(state.weights.dtype)
        return direction, MoCoState(tracked, kept, count, step)

    return guard(tasks, init, aggregate)

"""Any weighting as an Optax aggregator."""

import operator
from typing import Any

from optax.experimental import aggregating

from mtljax.gradients import combine, gramian, gramian_diagonal, task_count
from mtljax.weighting import SIGNALS, Weighting


def from_weighting(weighting: Weighting, num_tasks: int) -> aggregating.Aggregator:
    """Makes an aggregator that combines per-task gradients with the weights of a method.

    ``update(task_grads, state, params, losses=losses)`` returns the direction, to be subtracted,
    and the new state. Further signals are keyword arguments: `mask`, and those that the
    weighting requires; `gramian` and `gramian_diagonal` are computed unless given. Other keyword
    arguments are ignored, so that it can stand in an `optax.chain`.

    Args:
      weighting: the method.
      num_tasks: T, the leading axis of the gradients.

    Returns:
      An `optax.experimental.aggregating.Aggregator`, whose state is that of the weighting. Its
      `update` raises ValueError if `losses` or another required signal is missing, or if a leaf
      has another number of tasks.

    Raises:
      ValueError: the method cannot have `num_tasks` tasks.

    >>> import jax.numpy as jnp
    >>> from mtljax import weighting
    >>> aggregator = from_weighting(weighting.equal(), num_tasks=2)
    >>> state = aggregator.init(jnp.zeros(3))
    >>> task_grads = jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> aggregator.update(task_grads, state, losses=jnp.ones(2))[0]
    Array([0.5, 0.5, 0. ], dtype=float32)
    """
    tasks = operator.index(num_tasks)
    weighting.init(tasks)  # a wrong number of tasks is an error here rather than in init

    def init(params: Any) -> Any:
        del params
        return weighting.init(tasks)

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        losses: Any = None,
        mask: Any = None,
        **extra_args: Any,
    ) -> tuple[Any, Any]:
        del params
        if losses is None:
            raise ValueError("losses is missing: update(task_grads, state, params, losses=losses)")
        if task_count(updates) != tasks:
            raise ValueError(f"task_grads has {task_count(updates)} tasks, num_tasks is {tasks}")
        signals = {name: extra_args[name] for name in SIGNALS if name in extra_args}
        for name, compute in (("gramian", gramian), ("gramian_diagonal", gramian_diagonal)):
            if name in weighting.requires and name not in signals:
                signals[name] = compute(updates)
        weights, state = weighting.update(losses, state, mask=mask, **signals)
        return combine(weights, updates), state

    return aggregating.Aggregator(init, update)

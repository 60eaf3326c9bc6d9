"""Any weighting as an Optax aggregator."""

import operator
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from optax.experimental import aggregating

from mtljax.aggregation.guard import (
    check_required,
    check_task_axis,
    check_task_count,
    finite_gradients,
)
from mtljax.gradients import (
    combine,
    gramian,
    scaled_gramian,
    scaled_gramian_diagonal,
)
from mtljax.weighting import SIGNALS, Weighting


def from_weighting(weighting: Weighting, num_tasks: int) -> aggregating.Aggregator:
    """Makes an aggregator that combines per-task gradients with the weights of a method.

    When to use: a training loop of your own that has per-task gradients and Optax; with an
    optimizer behind it, `mtljax.optim.multi_objective` is shorter.

    ``update(task_grads, state, params, losses=losses)`` returns the direction, to be subtracted,
    and the new state. Further signals are keyword arguments: `mask`, and those that the
    weighting requires. `gramian` and `gramian_diagonal` are computed unless given, from gradients
    of any size; one that is given is used as it is, with the keyword `row_scale`, if any. Other
    keyword arguments are ignored, so that it can stand in an `optax.chain`.

    | input | direction |
    |---|---|
    | one task | its gradient, times the weight that the method gives a task alone |
    | zero, identical, opposite or parallel gradients | by the weights of the method's table |
    | a task that is masked out | without it, even where its gradient is NaN |
    | a loss or gradient that is not finite | the method's fallback weights, without that task |
    | all gradients zero | 0 |

    Args:
      weighting: the method.
      num_tasks: T, the leading axis of the gradients.

    Returns:
      An `optax.experimental.aggregating.Aggregator`, whose state is that of the weighting. Its
      `update` raises ValueError if `losses` or another required signal is missing, or if a leaf
      has another number of tasks.

    Raises:
      ValueError: the method cannot have `num_tasks` tasks.

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
        check_required(("losses",), {"losses": losses})
        check_task_axis(updates, params)
        check_task_count(updates, tasks)
        return weighted_direction(weighting, updates, state, losses, mask, extra_args)

    return aggregating.Aggregator(init, update)


def weighted_direction(
    weighting: Weighting,
    task_grads: Any,
    state: Any,
    losses: Any,
    mask: Any,
    keywords: Mapping[str, Any],
) -> tuple[Any, Any]:
    """Returns the direction that a weighting makes of per-task gradients.

    Args:
      weighting: the method.
      task_grads: a tree of floating point leaves ``[T, *param]``.
      state: that of the weighting.
      losses: ``[T]``.
      mask: ``[T]``, boolean, or None.
      keywords: signals by name, and `row_scale`; what is neither is ignored.

    Returns:
      The direction, leaves ``[*param]``, and the new state.
    """
    signals = {name: keywords[name] for name in (*SIGNALS, "row_scale") if name in keywords}
    missing = weighting.requires - signals.keys()
    if not missing & {"gramian", "gramian_diagonal"}:
        losses = _of_finite_gradients(losses, task_grads)
    # Products of gradients are made here, unless a caller has them; the diagonal of a Gramian is
    # not computed twice.
    if "gramian_diagonal" in missing and "gramian" in signals:
        signals["gramian_diagonal"] = jnp.diagonal(signals["gramian"])
    elif "gramian" in missing and "gramian_diagonal" in signals:
        scale = jnp.asarray(signals.get("row_scale", 1.0))
        signals["gramian"] = gramian(task_grads) / (scale[..., None] * scale)
    elif "gramian" in missing:
        signals["gramian"], signals["row_scale"] = scaled_gramian(task_grads, mask)
        if "gramian_diagonal" in missing:
            signals["gramian_diagonal"] = jnp.diagonal(signals["gramian"])
    elif "gramian_diagonal" in missing:
        squares, signals["row_scale"] = scaled_gramian_diagonal(task_grads, mask)
        signals["gramian_diagonal"] = squares
    weights, state = weighting.update(losses, state, mask=mask, **signals)
    return combine(weights, task_grads), state


def _of_finite_gradients(losses: ArrayLike, task_grads: Any) -> jax.Array:
    """Returns losses ``[T]``, NaN where a gradient is not finite.

    A method that reads no products of gradients would not see it, and weigh it: the direction, and
    the moments of an optimizer behind it, would be NaN from then on.
    """
    values, finite = jnp.asarray(losses), finite_gradients(task_grads)
    # Another shape is an error, which the method names.
    return jnp.where(finite, values, jnp.nan) if values.shape == finite.shape else values

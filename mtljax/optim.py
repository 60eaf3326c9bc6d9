"""Multi-objective optimization through Optax.

`proximal` lets a penalty that makes exact zeros act after the updates of any optimizer. For several
objectives there are two interfaces to the same updates, with the same `MultiObjectiveState`:

- `multi_objective`, an Optax optimizer of per-task gradients, with any weighting;
- `weigh` and `apply_direction`, between which the caller differentiates the weighted sum of the
  losses: one backward pass, for weightings that need no gradients, or where the caller has the
  signals.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mtljax.aggregation import from_weighting
from mtljax.weighting import SIGNALS, Weighting

_OF_WEIGHTING = ("losses", "mask", "row_scale", *(name for name in SIGNALS if name != "losses"))
"""Keyword arguments that are for the weighting."""


class MultiObjectiveState(NamedTuple):
    """The state of the weighting, and that of the optimizer behind it."""

    weighting: Any
    optimizer: Any


def multi_objective(
    weighting: Weighting, optimizer: optax.GradientTransformation, num_tasks: int
) -> optax.GradientTransformationExtraArgs:
    """Optimizes several objectives: a weighting, then any Optax optimizer on its direction.

    ``update(task_grads, state, params, losses=losses)`` takes leaves ``[T, *param]`` and returns
    plain updates ``[*param]``. Keyword arguments: `losses [T]`; `mask [T]`, boolean, false for an
    absent task; the other signals that the weighting requires. `gramian` and `gramian_diagonal`
    are computed unless given, from gradients of any size. A task whose loss or gradient is not
    finite is left out, and the weighting keeps its state.

    Every keyword argument also reaches the optimizer if it takes extra arguments, so that a part of
    it may read `losses` or `mask`. A `value_fn`, which the line searches of Optax and
    `optax.lbfgs` call with the extra arguments, gets those of the weighting only if it names them.
    A line search is along the direction: `value_fn`, `value` and `grad` are those of
    ``sum_i w_i L_i``, for weights that are known before the step, as those of `equal` and `fixed`
    are; for others see `weigh`.

    Args:
      weighting: the method.
      optimizer: turns the direction into updates.
      num_tasks: T.

    Returns:
      A transformation like any other: it can be chained, masked and partitioned, takes schedules
      and injected hyperparameters, and its `MultiObjectiveState` is a tree of arrays. Wrappers that
      expect gradients of the shape of the parameters go inside, around `optimizer`:
      `optax.MultiSteps`, `optax.apply_if_finite`, `optax.conditionally_transform`,
      `optax.conditionally_mask`, `optax.flatten`, `optax.contrib.mechanize`. With `params`, its
      `update` raises ValueError for gradients that have no axis of tasks before the axes of their
      parameters.

    Raises:
      ValueError: the method cannot have `num_tasks` tasks.

    >>> import jax.numpy as jnp
    >>> from mtljax.weighting import equal
    >>> params = jnp.zeros(2)
    >>> optimizer = multi_objective(equal(), optax.sgd(1.0), num_tasks=2)
    >>> state = optimizer.init(params)
    >>> task_grads = jnp.array([[1.0, 0.0], [0.0, 3.0]])
    >>> updates, state = optimizer.update(task_grads, state, params, losses=jnp.ones(2))
    >>> updates
    Array([-0.5, -1.5], dtype=float32)
    """
    aggregator = from_weighting(weighting, num_tasks)

    def init(params: optax.Params) -> MultiObjectiveState:
        return MultiObjectiveState(aggregator.init(params), optimizer.init(params))

    def update(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, Any]:
        direction, new = aggregator.update(updates, state.weighting, params, **extra_args)
        state = state._replace(weighting=new)
        for_optimizer = _for_optimizer(optimizer, extra_args)
        return apply_direction(optimizer, direction, state, params, **for_optimizer)

    return optax.GradientTransformationExtraArgs(init, update)


def _for_optimizer(
    optimizer: optax.GradientTransformation, extra_args: Mapping[str, Any]
) -> dict[str, Any]:
    """The extra arguments of an optimizer: its own, and those of the weighting that it can take."""
    arguments = dict(extra_args)
    if (value_fn := arguments.get("value_fn")) is not None:
        arguments["value_fn"] = _without_signals(value_fn)
    parameters = inspect.signature(optimizer.update).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return arguments
    return {
        name: value
        for name, value in arguments.items()
        if name in parameters or name not in _OF_WEIGHTING
    }


def _without_signals(value_fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose signature has the arguments of the weighting, and that drops them.

    The line searches of Optax call a `value_fn` with the extra arguments of its signature, and
    refuse any that it does not have.
    """
    signature = inspect.signature(value_fn)
    dropped = [name for name in _OF_WEIGHTING if name not in signature.parameters]

    @functools.wraps(value_fn, updated=())
    def without_signals(*args: Any, **keywords: Any) -> Any:
        own = {name: value for name, value in keywords.items() if name not in dropped}
        return value_fn(*args, **own)

    own = list(signature.parameters.values())
    # Keyword-only parameters stand before those of `**keywords`.
    end = len(own) - (bool(own) and own[-1].kind is inspect.Parameter.VAR_KEYWORD)
    added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in dropped]
    with_added = signature.replace(parameters=[*own[:end], *added, *own[end:]])
    without_signals.__signature__ = with_added  # type: ignore[attr-defined]
    return without_signals


class ProximalState(NamedTuple):
    """The state of an optimizer, and the number of its updates: an int32 scalar."""

    optimizer: Any
    count: jax.Array


def proximal(
    optimizer: optax.GradientTransformation,
    step: Callable[[optax.Params, jax.Array], optax.Params],
    learning_rate: optax.ScalarOrSchedule,
) -> optax.GradientTransformationExtraArgs:
    """A proximal step after each update, for penalties whose zeros should be exact.

    Forward-backward splitting (Duchi and Singer, "Efficient Online and Batch Learning using Forward
    Backward Splitting", JMLR 2009): the optimizer moves along the gradient of the losses, then
    `step` solves for the penalty. Behind an adaptive optimizer the penalty acts with the plain
    learning rate, as decoupled weight decay does. Its gradient must not be in the losses as well.

    Args:
      optimizer: any Optax optimizer.
      step: ``(params, learning_rate) -> params``, such as a tree map of
        ``regularizers.soft_threshold(leaf, learning_rate * factor)``.
      learning_rate: that of the optimizer, a number or a schedule.

    Returns:
      A transformation whose `update` needs the parameters.

    >>> from mtljax.regularizers import soft_threshold
    >>> optimizer = proximal(optax.sgd(0.5), lambda w, rate: soft_threshold(w, 0.2 * rate), 0.5)
    >>> params = jnp.array([1.0, -0.05])
    >>> updates, _ = optimizer.update(jnp.zeros(2), optimizer.init(params), params)
    >>> optax.apply_updates(params, updates)
    Array([0.9, 0. ], dtype=float32)
    """
    inner = optax.with_extra_args_support(optimizer)

    def init(params: optax.Params) -> ProximalState:
        return ProximalState(inner.init(params), jnp.zeros((), jnp.int32))

    def update(
        updates: optax.Updates, state: Any, params: optax.Params | None = None, **extra_args: Any
    ) -> tuple[optax.Updates, Any]:
        if params is None:
            raise ValueError("proximal: update needs the parameters")
        updates, new = inner.update(updates, state.optimizer, params, **extra_args)
        rate = learning_rate(state.count) if callable(learning_rate) else learning_rate
        moved = step(optax.apply_updates(params, updates), jnp.asarray(rate))
        updates = jax.tree.map(lambda after, before: after - before, moved, params)
        return updates, ProximalState(new, jnp.asarray(optax.safe_increment(state.count)))

    return optax.GradientTransformationExtraArgs(init, update)


def weigh(
    weighting: Weighting,
    losses: jax.Array,
    state: MultiObjectiveState,
    *,
    mask: jax.Array | None = None,
    **signals: jax.Array,
) -> tuple[jax.Array, MultiObjectiveState]:
    """Returns the weights of this step, and the state with that of the weighting updated.

    The weights are constants to differentiation, so this may stand inside the function that is
    differentiated, between the losses and their sum.

    Args:
      weighting: the method whose state it is.
      losses: ``[T]``.
      state: from ``multi_objective(...).init(params)``.
      mask: ``[T]``, boolean, false for an absent task.
      **signals: those that the weighting requires besides the losses, and `row_scale` where
        `gradients.scaled_gramian` made the Gramian.

    Returns:
      Weights ``[T]`` and the new state, for `apply_direction`. A line search then has its
      `value_fn`: ``lambda params: weights @ task_losses(params)``.

    Raises:
      ValueError: a shape does not fit, or a required signal is missing.
    """
    weights, new = weighting.update(losses, state.weighting, mask=mask, **signals)
    return jax.lax.stop_gradient(weights), state._replace(weighting=new)


def apply_direction(
    optimizer: optax.GradientTransformation,
    direction: optax.Updates,
    state: MultiObjectiveState,
    params: optax.Params | None = None,
    **extra_args: Any,
) -> tuple[optax.Updates, MultiObjectiveState]:
    """Returns the updates for one direction, the gradient of ``sum_i w_i L_i``.

    Args:
      optimizer: the one given to `multi_objective`.
      direction: a tree like the parameters.
      state: from `weigh`.
      params: the parameters, where the optimizer needs them.
      **extra_args: for the optimizer, if it takes any.

    Returns:
      Updates for `optax.apply_updates`, and the state with that of the optimizer updated.
    """
    update = optax.with_extra_args_support(optimizer).update
    updates, new = update(direction, state.optimizer, params, **extra_args)
    return updates, state._replace(optimizer=new)

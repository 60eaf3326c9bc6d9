"""How a step gets from its batch to its direction: the strategy that suits method and options."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.step import approximate, per_task, weighted_sum
from mtljax.step.gradient_layout import ShardedGradients
from mtljax.step.method import Method, reads_gradients, weighted_heads
from mtljax.step.objectives import Objectives
from mtljax.step.options import StepOptions
from mtljax.step.state import TrainState
from mtljax.step.types import Direction, Measured, Measurement, StepInputs
from mtljax.weighting import Weighting, wrappers
from mtljax.weighting.wrappers.every import EveryState

LAGGED = ("lagged", "sketched")
"""Strategies that combine gradients with the weights of the step before."""

APPROXIMATE = (*LAGGED, "representation")
"""Strategies whose directions are not those of the exact ones."""


class Strategy(NamedTuple):
    """A strategy in two stages, between which the results of several batches can be summed.

    Attributes:
      measure: ``(state, inputs) -> Measurement``.
      decide: ``(state, inputs, measured, context) -> Direction``.
      by_task: whether `Measured.shared` has leaves ``[T, *param]``.
      in_one_pass: whether it is one backward pass of the weighted losses.
    """

    measure: Callable[[TrainState, StepInputs], Measurement]
    decide: Callable[[TrainState, StepInputs, Measured, Any], Direction]
    by_task: bool
    in_one_pass: bool = False


def choose_strategy(objectives: Objectives, method: Method, options: StepOptions) -> Strategy:
    """The strategy that the options name, or that costs least.

    Raises:
      ValueError: a strategy that does not suit the method, the layout of the gradients, or
        accumulation.
    """
    name = options.strategy
    _check(name, objectives, method, options)
    if name in LAGGED:
        return Strategy(
            functools.partial(approximate.measure_lagged, objectives, options),
            functools.partial(approximate.decide_lagged, objectives, method),
            False,
        )
    if name == "representation":
        return Strategy(
            functools.partial(approximate.measure_representation, objectives),
            functools.partial(approximate.decide_representation, objectives, method),
            False,
        )
    if not (why_by_task(method, options) or isinstance(objectives.layout, ShardedGradients)):
        return Strategy(
            functools.partial(weighted_sum.measure, objectives, method),
            functools.partial(weighted_sum.decide, objectives, method),
            False,
            True,
        )
    return Strategy(
        functools.partial(per_task.measure, objectives, options),
        functools.partial(per_task.decide, objectives, method, options),
        True,
    )


def why_by_task(method: Method, options: StepOptions) -> str:
    """Why a step takes the gradient of every task, not that of one sum; empty if it does not."""
    if reads_gradients(method):
        return "the method reads the gradient of every task"
    if method.heads == "own":
        return "heads 'own' takes the gradient of every task's own loss"
    # A gradient that is not finite is left out only where it can be told from the others.
    if options.non_finite == "leave_out":
        return "non_finite 'leave_out' looks at the gradient of every task"
    return "telemetry reads the gradient of every task" if options.telemetry else ""


def find_direction(
    strategy: Strategy,
    objectives: Objectives,
    method: Method,
    options: StepOptions,
    state: TrainState,
    inputs: StepInputs,
) -> tuple[jax.Array, Direction, Any]:
    """Losses ``[T]``, the direction of a step of one batch, and what heads returned besides."""

    def measured_and_decided(_: None) -> tuple[jax.Array, Direction, Any]:
        losses, measured, context, aux = strategy.measure(state, inputs)
        return losses, strategy.decide(state, inputs, measured, context), aux

    keeps_weights = isinstance(state.optimizer.weighting, EveryState) and reads_gradients(method)
    leaves_out = "leave_out" in (options.non_finite, options.loss_spikes)
    if not (keeps_weights and strategy.by_task) or leaves_out:
        return measured_and_decided(None)

    # In between, `every` keeps its weights: one backward pass does, and no product is computed.
    shapes = jax.eval_shape(measured_and_decided, None)[1]

    def with_kept_weights(_: None) -> tuple[jax.Array, Direction, Any]:
        losses, direction, aux = weighted_sum.with_kept_weights(
            objectives, method, state, inputs, weighted_heads(method)
        )
        unknown = jax.tree.map(
            lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype),
            {name: getattr(shapes, name) for name in ("gramian", "row_scale", "noise")},
        )
        return losses, direction._replace(**unknown), aux

    return jax.lax.cond(
        wrappers.needs_gradients(state.optimizer.weighting, inputs.present),
        measured_and_decided,
        with_kept_weights,
        None,
    )


def _check(name: str, objectives: Objectives, method: Method, options: StepOptions) -> None:
    if name not in APPROXIMATE:
        return
    what = f"strategy {name!r}"
    if isinstance(objectives.layout, ShardedGradients):
        raise ValueError(f"{what}: not with tasks on groups of devices")
    beyond = method.requires & {"cross_gramian", "validation_gradients", "validation_grads"}
    if not isinstance(method.rule, Weighting) or beyond:
        raise ValueError(f"{what}: not for an aggregator, nor for a method of several batches")
    if options.loss_spikes == "leave_out":
        raise ValueError(f"{what}: loss_spikes must not be 'leave_out'")
    if options.non_finite == "leave_out":
        raise ValueError(f"{what}: non_finite must be 'stop' or 'skip', got 'leave_out'")
    if name != "sketched" and options.accumulate > 1:
        raise ValueError(f"{what}: not with accumulated gradients; take 'sketched'")

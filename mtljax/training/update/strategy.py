"""Which strategy a step goes from its batch to its direction."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.presets import Config
from mtljax.training.model import Model
from mtljax.training.update import approximate, per_task, weighted_sum
from mtljax.training.update.types import (
    Direction,
    Measured,
    Method,
    StepInputs,
    reads_gradients,
    weighted_heads,
)
from mtljax.weighting import Weighting, wrappers
from mtljax.weighting.wrappers.every import EveryState

LAGGED = ("lagged", "sketched")
FRUGAL = (*LAGGED, "representation")


class Strategy(NamedTuple):
    """A strategy in two stages, between which the results of several batches can be added up.

    Attributes:
      measure: ``(state, inputs) -> (losses [T], Measured, context)``.
      decide: ``(state, inputs, measured, context) -> Direction``.
      by_task: whether `Measured` has a row a task.
    """

    measure: Callable[[Any, StepInputs], tuple[jax.Array, Measured, Any]]
    decide: Callable[[Any, StepInputs, Measured, Any], Direction]
    by_task: bool


def choose_strategy(model: Model, method: Method, config: Config) -> Strategy:
    """The strategy of a configuration.

    Raises:
      ValueError: a strategy that does not suit the method, the model, or accumulated gradients.
    """
    name = config.gradients.strategy
    _check(name, model, method, config)
    if name in LAGGED:
        return Strategy(
            functools.partial(approximate.measure_lagged, model, config),
            functools.partial(approximate.decide_lagged, model, method),
            False,
        )
    if name == "representation":
        return Strategy(
            functools.partial(approximate.measure_representation, model, config),
            functools.partial(approximate.decide_representation, model, method),
            False,
        )
    # A gradient that is not finite is left out only where it can be told from the others.
    in_one_pass = not (
        reads_gradients(method)
        or model.placement is not None
        or method.heads == "own"
        or config.non_finite == "leave_out"
        or config.gradients.telemetry
    )
    if in_one_pass:
        return Strategy(
            functools.partial(weighted_sum.measure, model, method),
            functools.partial(weighted_sum.decide, method),
            False,
        )
    return Strategy(
        functools.partial(per_task.measure, model, config),
        functools.partial(per_task.decide, model, method, config),
        True,
    )


def find(
    strategy: Strategy, model: Model, method: Method, config: Config, state: Any, inputs: StepInputs
) -> tuple[jax.Array, Direction]:
    """Losses ``[T]`` and the direction of a step of one batch."""

    def whole(_):
        losses, measured, context = strategy.measure(state, inputs)
        return losses, strategy.decide(state, inputs, measured, context)

    keeps = isinstance(state.optimizer.weighting, EveryState) and reads_gradients(method)
    if not (keeps and strategy.by_task) or config.non_finite == "leave_out":
        return whole(None)

    def kept(like):
        losses, direction = weighted_sum.between(
            model, method, state, inputs, weighted_heads(method)
        )
        unknown = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), like)
        return losses, direction._replace(gramian=unknown[0], row_scale=unknown[1])

    shapes = jax.eval_shape(whole, None)[1]
    return jax.lax.cond(
        wrappers.needs_gradients(state.optimizer.weighting, inputs.present),
        whole,
        lambda _: kept((shapes.gramian, shapes.row_scale)),
        None,
    )


def _check(name: str, model: Model, method: Method, config: Config) -> None:
    what = f"gradients.strategy {name!r}"
    if name in ("vmapped", "scanned"):
        _check_alike(what, model)
    if name not in FRUGAL:
        return
    if model.placement is not None:
        raise ValueError(f"{what}: not with tasks on groups of devices (parallel.placement)")
    beyond = method.requires & {"cross_gramian", "validation_gradients", "validation_grads"}
    if not isinstance(method.rule, Weighting) or beyond:
        raise ValueError(f"{what}: not for weighting {config.weighting!r}")
    if config.non_finite == "leave_out":
        raise ValueError(f"{what}: non_finite must be 'stop' or 'skip', got 'leave_out'")
    groups = [group.name for group in model.layout.groups]
    if name == "representation" and len(groups) > 1:
        raise ValueError(
            f"{what}: all tasks must read the same inputs, got groups {', '.join(groups)}"
        )
    if name != "sketched" and config.optimizer.accumulate > 1:
        raise ValueError(f"{what}: not with optimizer.accumulate; take 'sketched'")


def _check_alike(what: str, model: Model) -> None:
    layout, attention = model.layout, model.network.attention
    first = layout.groups[0]
    for group in layout.groups:
        if len(group.tasks) > 1:
            names = ", ".join(task.name for task in group.tasks)
            raise ValueError(f"{what}: every task must have inputs of its own, {names} share them")
        modes = attention[first.name], attention[group.name]
        if modes[0] != modes[1]:
            raise ValueError(
                f"{what}: {first.name} and {group.name} must read alike, got attention "
                f"{modes[0]} and {modes[1]}"
            )
        sizes = [
            (shape.rows, shape.row_length, shape.affixes)
            for shape in (layout.shapes[first.name], layout.shapes[group.name])
        ]
        if sizes[0] != sizes[1]:
            shown = " and ".join(f"{rows} x {length}" for rows, length, _ in sizes)
            raise ValueError(
                f"{what}: batches of {first.name} and {group.name} must have one shape, got {shown}"
            )

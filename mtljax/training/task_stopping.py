"""Early stopping of single tasks: one that gets no better stands still while the others go on."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mtljax.modules.structures import PRIVATE
from mtljax.step.state import TrainState
from mtljax.training.evaluation import Values, score
from mtljax.training.model import Model
from mtljax.training.stopping import Best, better, from_json, to_json

_OWN = ("heads", PRIVATE)
"""The parts of the parameters that are divided by task."""


class TaskStops(NamedTuple):
    """Which tasks have stopped.

    Attributes:
      best: by task, its best evaluation so far.
      stopped: by task that has stopped, the step after which it did.
    """

    best: Mapping[str, Best]
    stopped: Mapping[str, int]


NO_STOPS = TaskStops({}, {})


def after_evaluation(
    stops: TaskStops, patience: int, model: Model, values: Values, step: int, every: int
) -> TaskStops:
    """The stops after one more evaluation; a task that has stopped stays so.

    Args:
      stops: those before.
      patience: evaluations without a better score of a task after which it stops; 0 for never.
      model: the model.
      values: on validation, by task and metric; a task without values never stops.
      step: steps done.
      every: steps between evaluations.
    """
    if not patience:
        return stops
    best, stopped = dict(stops.best), dict(stops.stopped)
    for name in values:
        if name in stopped:
            continue
        found = better(best.get(name), step, score(model, {name: values[name]}))
        if found is None:
            continue
        best[name] = found
        if step // every - found.step // every >= patience:
            stopped[name] = step
    return TaskStops(best, stopped)


def stops_to_json(stops: TaskStops) -> dict[str, Any] | None:
    """What a checkpoint keeps; None where there is nothing to keep."""
    if stops == NO_STOPS:
        return None
    best = {name: to_json(found) for name, found in stops.best.items()}
    return {"best": best, "stopped": dict(stops.stopped)}


def stops_from_json(saved: Mapping[str, Any] | None) -> TaskStops:
    """What `stops_to_json` made; none of checkpoints that have none."""
    if saved is None:
        return NO_STOPS
    best = {name: found for name, pair in saved["best"].items() if (found := from_json(pair))}
    return TaskStops(best, {name: int(step) for name, step in saved["stopped"].items()})


def without_targets(batch: Mapping[str, Any], stops: TaskStops) -> Mapping[str, Any]:
    """A batch in which tasks that have stopped have no target, as an absent task has none.

    Args:
      batch: by input group, its arrays, on the devices.
      stops: which have stopped.
    """
    if not stops.stopped:
        return batch
    return {
        group: {
            **rows,
            "weights": {
                task: weights * 0 if task in stops.stopped else weights
                for task, weights in rows["weights"].items()
            },
        }
        for group, rows in batch.items()
    }


class Held(NamedTuple):
    """What tasks that have stopped have for themselves: a head, private parameters.

    Attributes:
      params: their parameters: by part of the tree, and by task.
      average: their moving averages; empty where there are none.
    """

    params: Mapping[str, Mapping[str, Any]]
    average: Mapping[str, Mapping[str, Any]]


def held_parameters(state: TrainState, stops: TaskStops, before: Held | None = None) -> Held:
    """Copies of the own parameters of tasks that have stopped, as they are in a state.

    Args:
      state: at which they stopped, or any later one.
      stops: which have stopped.
      before: those that have stopped before, which are not copied again.
    """

    def copies(params: Any, old: Mapping[str, Any]) -> dict[str, Any]:
        held = {}
        for part in _OWN:
            own, kept = (params or {}).get(part, {}), old.get(part, {})
            held[part] = {
                name: kept[name] if name in kept else jax.tree.map(jnp.copy, own[name])
                for name in stops.stopped
                if name in own
            }
        return {part: by_task for part, by_task in held.items() if by_task}

    before = before or Held({}, {})
    return Held(copies(state.params, before.params), copies(state.average, before.average))


def with_held(state: TrainState, held: Held) -> TrainState:
    """A state in which the own parameters of tasks that have stopped are as they were.

    Momentum and weight decay would move them without a gradient. The state is donated to the next
    step, so that it has copies.
    """
    if not held.params:
        return state

    def put(params: Any, own: Mapping[str, Any]) -> Any:
        if params is None:
            return None
        copies = jax.tree.map(jnp.copy, own)
        return {**params, **{part: {**params[part], **copies[part]} for part in copies}}

    return state._replace(
        params=put(state.params, held.params), average=put(state.average, held.average)
    )

"""An evaluation on validation and the checkpoint that is saved after it."""

import math

from mtljax.errors import Diverged, UserError
from mtljax.step.state import TrainState, evaluated_params
from mtljax.tasks import main_metric
from mtljax.training import stopping
from mtljax.training.evaluation import Values, score
from mtljax.training.model import Model
from mtljax.training.multihost import collective_error
from mtljax.training.persistence.checkpoints import Checkpoints
from mtljax.training.reporting.progress import format_value
from mtljax.training.session import Log, Session
from mtljax.training.stopping import Best
from mtljax.training.task_stopping import TaskStops, after_evaluation, stops_to_json


def checkpoint(
    session: Session,
    log: Log,
    number: int,
    state: TrainState,
    best: Best | None,
    stops: TaskStops,
) -> tuple[Best | None, TaskStops]:
    """Evaluate on validation, and begin to save, with the position after the last batch read.

    Returns:
      The best evaluation, after this one, and the tasks that have stopped.
    """
    values = evaluate(session, state, "validation")
    for task, metrics in values.items():
        if not math.isfinite(metrics["loss"]):
            bad = f"the validation loss of task {task!r} ({metrics['loss']}) is not finite"
            raise diverged(number, bad, session.checkpoints)
    session.learn_from_validation(number, values)
    flat = {
        f"{task}/{name}": value
        for task, metrics in values.items()
        for name, value in metrics.items()
    }
    flat |= {"score": score(session.model, values), **session.account.logged()}
    log.write(number, "validation", flat)
    log.reporter.say(f"step {number}  validation  {_main_values(session.model, values)}")
    # Without a score (no task has validation data) the last checkpoint is the best.
    rank = stopping.chosen_score(session.config.stopping, session.model, values)
    best = stopping.better(best, number, rank)
    rank = rank if math.isfinite(rank) else -1.0
    every, patience = session.config.evaluate_every, session.config.stopping.task_patience
    now = after_evaluation(stops, patience, session.model, values, number, every)
    for task in [name for name in now.stopped if name not in stops.stopped]:
        log.reporter.say(f"task {task!r} stopped; it was best after step {now.best[task].step}")
    position, as_json = session.position(), (stopping.to_json(best), stops_to_json(now))
    keeps = session.config.stopping.keep_each
    of_tasks = stopping.scores_of_tasks(session.model, values) if keeps else {}
    with session.account.spent("checkpoint"):
        session.checkpoints.save(number, state, position, values, rank, *as_json, of_tasks)
    return best, now


def evaluate(session: Session, state: TrainState, split: str, *, full: bool = False) -> Values:
    """The values of the parameters to be evaluated on a split, by task and metric."""
    with session.account.spent("evaluation"):
        params = session.devices.evaluated(evaluated_params(state))
        return session.evaluator(params, split, full=full)


def saved(checkpoints: Checkpoints) -> str:
    """What is saved, in words."""
    last = checkpoints.latest_step()
    return "nothing was to be saved yet" if last is None else f"step {last} is saved"


def diverged(number: int, what: str, checkpoints: Checkpoints) -> UserError:
    """The error of all processes about what a step came to: what, and what is left."""
    checkpoints.wait()
    last = checkpoints.latest_step()
    kept = "no checkpoint yet" if last is None else f"last good checkpoint: step {last}"
    # All processes read the same metrics.
    return collective_error(Diverged(f"step {number}: {what}; stopped ({kept})"))


def _main_values(model: Model, values: Values) -> str:
    parts = []
    for task in model.tasks:
        if task.name in values:
            name = main_metric(task, model.layout.outputs[task.name].classes)
            shown = format_value(name, values[task.name][name])
            parts.append(f"{task.name} {name.replace('_', ' ')} {shown}")
    return "  ".join(parts)

"""Early stopping: a run ends when validation has not got better for some evaluations."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mtljax.data import MultitaskData
from mtljax.errors import UserError
from mtljax.presets import StoppingConfig
from mtljax.tasks import Task, suggestion
from mtljax.training.evaluation import Values, score
from mtljax.training.model import Model


class Best(NamedTuple):
    """The best evaluation of a run so far; of equal ones the first.

    Attributes:
      step: of the evaluation.
      score: its score, by which runs stop and checkpoints are chosen.
    """

    step: int
    score: float


def check_stopping(config: StoppingConfig, data: MultitaskData) -> None:
    """Check that there is a score by which a run can stop and its best checkpoint be chosen.

    Args:
      config: of the run.
      data: of the run.

    Raises:
      UserError: a task that there is not, or that has no target in validation; or no task has one.
    """
    if not (config.patience or config.task or config.task_patience):
        return
    tasks = {task.name: (group.name, task) for group in data.groups for task in group.tasks}
    if config.task and config.task not in tasks:
        raise UserError(f"stopping.task {config.task!r}: unknown{suggestion(config.task, tasks)}")
    wanted = [tasks[config.task]] if config.task else list(tasks.values())
    if not any(_has_target(data, group, task) for group, task in wanted):
        who = f"task {config.task!r} has" if config.task else "no task has"
        option = "patience" if config.patience else "task_patience"
        option = "task" if config.task else option
        end = "no target in validation" if config.task else "a target in validation"
        raise UserError(f"stopping.{option}: {who} {end}")


def _has_target(data: MultitaskData, group: str, task: Task) -> bool:
    examples = data.examples[group].get("validation")
    return examples is not None and bool((examples.weights[task.name] > 0).any())


def chosen_score(config: StoppingConfig, model: Model, values: Values) -> float:
    """The score by which the best checkpoint is chosen: of one task, or the mean of all.

    Args:
      config: of the run.
      model: the model.
      values: on validation, by task and metric.

    Returns:
      See `mtljax.training.evaluation.score`; NaN if there are no values.
    """
    if config.task:
        values = {name: of_task for name, of_task in values.items() if name == config.task}
    return score(model, values)


def scores_of_tasks(model: Model, values: Values) -> dict[str, float]:
    """By task the score of its main metric, of tasks that have values; see `score`."""
    return {name: score(model, {name: of_task}) for name, of_task in values.items()}


def better(best: Best | None, step: int, value: float) -> Best | None:
    """The best evaluation after one more; a score that is NaN changes nothing."""
    if math.isnan(value) or (best is not None and value <= best.score):
        return best
    return Best(step, value)


def why_stopped(config: StoppingConfig, best: Best | None, step: int, every: int) -> str:
    """Why a run ends after a step; empty if it goes on.

    Args:
      config: of the run.
      best: its best evaluation so far, None before the first.
      step: steps done.
      every: steps between evaluations.
    """
    if not config.patience or best is None:
        return ""
    if step // every - best.step // every < config.patience:
        return ""
    of = f" of {config.task}" if config.task else ""
    count = "evaluation" if config.patience == 1 else f"{config.patience} evaluations"
    return f"no better score{of} in the {count} after step {best.step}"


def goes_on(before: StoppingConfig, now: StoppingConfig, summary: Mapping[str, Any]) -> bool:
    """Whether a run that has stopped continues, since it is to be more patient than before."""
    more = not now.patience or now.patience > before.patience
    return "stopped" in summary and before.patience > 0 and more


def to_json(best: Best | None) -> list[Any] | None:
    """What a checkpoint keeps."""
    return None if best is None else [best.step, best.score]


def from_json(saved: Sequence[Any] | None) -> Best | None:
    """What `to_json` made; None of checkpoints that have none."""
    return None if saved is None else Best(int(saved[0]), float(saved[1]))

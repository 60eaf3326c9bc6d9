"""What a task is trained with and measured by where it does not say so itself."""

from collections.abc import Sequence

from mtljax.kinds import KINDS, chosen_loss
from mtljax.tasks.task import Task


def metric_names(task: Task, classes: Sequence[str] = ()) -> tuple[str, ...]:
    """The metrics a task is measured by, the main one first.

    Args:
        task: the task; its own `metrics` win where it names any.
        classes: names of its classes or tags, by which some kinds choose.

    Returns:
        Names of metrics, at least one.
    """
    if task.metrics:
        return task.metrics
    kind = KINDS[task.kind]
    if kind.default_metrics is None:
        return kind.metrics[:1]
    return kind.default_metrics(task.scheme, classes)


def main_metric(task: Task, classes: Sequence[str] = ()) -> str:
    """The metric that says which checkpoint of a task is best: the first of `metric_names`."""
    return metric_names(task, classes)[0]


def loss_name(task: Task) -> str:
    """The name of the loss a task is trained with, one of `mtljax.losses`."""
    return chosen_loss(KINDS[task.kind], task.loss)


def chains_tags(task: Task) -> bool:
    """Whether the tags of a text are chosen together, not each word's by itself."""
    return task.constrained or loss_name(task) == "crf"

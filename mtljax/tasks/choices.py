"""What a task is trained with and measured by where it does not say so itself."""

from collections.abc import Sequence

from mtljax.tasks.kinds import KINDS, chosen_loss
from mtljax.tasks.task import Task


def span_scheme(task: Task, classes: Sequence[str]) -> str:
    """The scheme by which the spans of a tagging task are read.

    Args:
        task: the task; its own `scheme` wins where it names one.
        classes: names of its tags.

    Returns:
        One of `SCHEMES`. Where the task names none, by the tags other than `O`: `bioes` if all are
        `B-x`, `I-x`, `E-x` or `S-x` and some begin with `E-` or `S-`; `bio` if all are `B-x` or
        `I-x` and some begin with `B-`; `iob1` if all are `I-x`; else `none`. IOB1 tags with a
        `B-x` among them are taken as `bio`, in which they mark the same spans.

    >>> from mtljax.tasks import Task
    >>> task = Task("slots", "d", "tagging", "tokens", "tags")
    >>> span_scheme(task, ["O", "B-city", "I-city"]), span_scheme(task, ["NOUN", "VERB"])
    ('bio', 'none')
    """
    if task.scheme is not None:
        return task.scheme
    marked = [name for name in classes if name != "O"]
    found = {name[0] for name in marked if name[1:2] == "-" and len(name) > 2}
    if not found or any(name[1:2] != "-" or len(name) <= 2 for name in marked):
        return "none"
    if found == {"I"}:
        return "iob1"
    if found <= set("BI"):
        return "bio"
    return "bioes" if found <= set("BIES") else "none"


def metric_names(task: Task, classes: Sequence[str] = ()) -> tuple[str, ...]:
    """The metrics a task is measured by, the main one first.

    Args:
        task: the task; its own `metrics` win where it names any.
        classes: names of its classes or tags, which decide between the F1 scores of tagging:
            `span_f1` where the tags mark spans, else `micro_f1` over the tags other than `O`, or
            `accuracy` where there is no `O`.

    Returns:
        Names of metrics, at least one.
    """
    if task.metrics:
        return task.metrics
    if task.kind == "tagging":
        if span_scheme(task, classes) != "none":
            return ("span_f1", "accuracy")
        return ("micro_f1", "accuracy") if not classes or "O" in classes else ("accuracy",)
    return KINDS[task.kind].metrics[:1]


def main_metric(task: Task, classes: Sequence[str] = ()) -> str:
    """The metric that says which checkpoint of a task is best: the first of `metric_names`."""
    return metric_names(task, classes)[0]


def loss_name(task: Task) -> str:
    """The name of the loss a task is trained with, one of `mtljax.losses`."""
    return chosen_loss(task.kind, task.loss)

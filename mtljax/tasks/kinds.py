"""The kinds of task, with the losses and metrics that make sense for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtljax.tasks.task import Task


@dataclass(frozen=True)
class Kind:
    """What a kind of task may ask for.

    Attributes:
        losses: names of the losses it can be trained with, the default first.
        metrics: names of the metrics it can be measured with.
        needs_targets: whether a task must name the feature with its targets.
        several_inputs: whether its inputs may be several features, read one after another.
        supported: whether it can be trained yet.
    """

    losses: tuple[str, ...]
    metrics: tuple[str, ...]
    needs_targets: bool = True
    several_inputs: bool = False
    supported: bool = True


KINDS: dict[str, Kind] = {
    "classification": Kind(
        losses=("softmax", "sigmoid", "logistic", "hinge", "squared"),
        metrics=("accuracy", "loss"),
        several_inputs=True,
    ),
    "tagging": Kind(losses=("softmax",), metrics=("micro_f1", "span_f1", "accuracy", "loss")),
    "language_model": Kind(
        losses=("softmax",), metrics=("perplexity", "accuracy", "loss"), needs_targets=False
    ),
    "regression": Kind(
        losses=("squared", "absolute", "huber"),
        metrics=("mean_squared_error", "mean_absolute_error", "loss"),
        several_inputs=True,
    ),
    "text_to_text": Kind(losses=("softmax",), metrics=("perplexity", "loss"), supported=False),
}
"""Every kind by name."""

LOWER_IS_BETTER: frozenset[str] = frozenset(
    {"perplexity", "mean_squared_error", "mean_absolute_error", "loss"}
)
"""The metrics of which a smaller value is the better one."""


def is_bio(classes: Sequence[str]) -> bool:
    """Whether tag names mark spans: all are `O`, `B-x` or `I-x`, and some begin a span.

    >>> is_bio(["O", "B-city", "I-city"]), is_bio(["NOUN", "VERB"])
    (True, False)
    """
    spans = [name for name in classes if name != "O"]
    return any(name.startswith("B-") for name in spans) and all(
        name.startswith(("B-", "I-")) and len(name) > 2 for name in spans
    )


def metric_names(task: "Task", classes: Sequence[str] = ()) -> tuple[str, ...]:
    """The metrics a task is measured by, the main one first.

    Args:
        task: the task; its own `metrics` win where it names any.
        classes: names of its classes or tags, which decide between the F1 scores of tagging:
            `span_f1` where the tags are BIO, else `micro_f1` over the tags other than `O`, or
            `accuracy` where there is no `O`.

    Returns:
        Names of metrics, at least one.
    """
    if task.metrics:
        return task.metrics
    if task.kind == "tagging":
        if is_bio(classes):
            return ("span_f1", "accuracy")
        return ("micro_f1", "accuracy") if not classes or "O" in classes else ("accuracy",)
    return KINDS[task.kind].metrics[:1]


def main_metric(task: "Task", classes: Sequence[str] = ()) -> str:
    """The metric that says which checkpoint of a task is best: the first of `metric_names`."""
    return metric_names(task, classes)[0]


def loss_name(task: "Task") -> str:
    """The name of the loss a task is trained with, one of `mtljax.losses`.

    `logistic` is another name of `sigmoid`.
    """
    name = task.loss or KINDS[task.kind].losses[0]
    return "sigmoid" if name == "logistic" else name

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
        has_classes: whether its targets are of classes with names, which may have weights.
        writes: whether its predictions are words of a text, each from those before it.
    """

    losses: tuple[str, ...]
    metrics: tuple[str, ...]
    needs_targets: bool = True
    several_inputs: bool = False
    has_classes: bool = False
    writes: bool = False


KINDS: dict[str, Kind] = {
    "classification": Kind(
        losses=("softmax", "sigmoid", "logistic", "hinge", "squared"),
        metrics=("accuracy", "macro_f1", "loss"),
        several_inputs=True,
        has_classes=True,
    ),
    "multilabel": Kind(
        losses=("sigmoid",),
        metrics=("micro_f1", "macro_f1", "exact_match", "loss"),
        several_inputs=True,
        has_classes=True,
    ),
    "tagging": Kind(
        losses=("softmax",),
        metrics=("micro_f1", "span_f1", "accuracy", "loss"),
        has_classes=True,
    ),
    "language_model": Kind(
        losses=("softmax",),
        metrics=("perplexity", "accuracy", "loss"),
        needs_targets=False,
        writes=True,
    ),
    "regression": Kind(
        losses=("squared", "absolute", "huber"),
        metrics=("mean_squared_error", "mean_absolute_error", "loss"),
        several_inputs=True,
    ),
    "text_to_text": Kind(
        losses=("softmax",), metrics=("perplexity", "accuracy", "loss"), writes=True
    ),
}
"""Every kind by name."""

LOWER_IS_BETTER: frozenset[str] = frozenset(
    {"perplexity", "mean_squared_error", "mean_absolute_error", "loss"}
)
"""The metrics of which a smaller value is the better one."""


_PREFIXES = {"bio": "BI", "iob1": "BI", "bioes": "BIES"}

SCHEMES: tuple[str, ...] = (*_PREFIXES, "none")
"""How the tags of a tagging task mark spans."""


def span_scheme(task: "Task", classes: Sequence[str]) -> str:
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


def misfit(scheme: str, classes: Sequence[str]) -> str | None:
    """The first tag that a scheme does not have, or None.

    >>> misfit("bio", ["O", "B-city", "E-city"])
    'E-city'
    """
    for name in classes:
        prefix = name.split("-")[0]
        if name != "O" and prefix not in tuple(_PREFIXES[scheme]):
            return name
    return None


def metric_names(task: "Task", classes: Sequence[str] = ()) -> tuple[str, ...]:
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


def main_metric(task: "Task", classes: Sequence[str] = ()) -> str:
    """The metric that says which checkpoint of a task is best: the first of `metric_names`."""
    return metric_names(task, classes)[0]


def loss_name(task: "Task") -> str:
    """The name of the loss a task is trained with, one of `mtljax.losses`.

    `logistic` is another name of `sigmoid`.
    """
    name = task.loss or KINDS[task.kind].losses[0]
    return "sigmoid" if name == "logistic" else name

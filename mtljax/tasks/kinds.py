"""The kinds of task, with the losses and metrics that make sense for each."""

from dataclasses import dataclass


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


def chosen_loss(kind: str, loss: str | None) -> str:
    """The loss that a task of a kind is trained with, where it names `loss` or None.

    `logistic` is another name of `sigmoid`.
    """
    name = loss or KINDS[kind].losses[0]
    return "sigmoid" if name == "logistic" else name

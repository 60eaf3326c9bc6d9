"""A kind of task as one value: its options, inputs, targets, head, losses, metrics and answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from mtljax.kinds.labels import Classes
from mtljax.kinds.output import Output
from mtljax.kinds.target_rows import TargetRows

# For types alone: whoever reads a tasks file needs neither JAX nor Flax.
if TYPE_CHECKING:
    import jax

    from mtljax.metrics import State
    from mtljax.modules import HeadSettings, TagScores

Attention = Literal["bidirectional", "causal", "prefix", "separate"]
"""What the positions of a text see of each other: all; those before; all of the source they answer,
and of the answer those before; all of the source, or all of the answer, whichever they are in."""

FeatureKind = Literal["text", "tokens", "label", "tags", "number", "numbers"]
"""The kind of a feature of a data set."""


class LossSettings(NamedTuple):
    """The loss that a task is trained with.

    Attributes:
        name: one of `Kind.losses`; `sigmoid` where that is `logistic`.
        label_smoothing: probability mass that is spread evenly over the classes, in [0, 1).
        class_weights: by which the loss of a target is multiplied, for each class; empty for 1.
    """

    name: str
    label_smoothing: float = 0.0
    class_weights: "Sequence[float] | jax.Array" = ()


def _number_of_classes(loss: str, num_classes: int) -> int:
    return num_classes


def _metric_of_that_name(
    name: str, predicted: "jax.Array", targets: "jax.Array", weights: "jax.Array", output: Output
) -> "State":
    from mtljax import metrics

    return metrics.METRICS[name](predicted, targets, weights)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of task; functions as fields say how it behaves.

    Functions that compute on a device import JAX when they are called, so that a kind costs nothing
    to import. Shapes: `R` rows of `S` ids with up to `N` texts each; targets are `[R, S]` where
    there is one for each id, else `[R, N]`, with a last axis of classes if `per_class`.

    Attributes:
        losses: names of the losses it can be trained with, the default first.
        metrics: names of the metrics it can be measured with.
        lower_is_better: those of its metrics of which a smaller value is better.
        smoothed_losses: those of its losses that take label smoothing; none of kinds that write,
            whose softmax over words is sampled.
        needs_targets: whether a task must name the feature with its targets.
        several_inputs: whether its inputs may be several features, read one after another.
        has_classes: whether its targets are of classes with names, which may have weights.
        has_spans: whether its classes are tags that may mark spans, by a scheme.
        writes: whether its predictions are words of a text, each from those before it: the
            `continuation` of the text that is read, or an `answer` to it, which may have references
            and share renamed words with it. None for kinds that write nothing.

        input_features: kinds of feature that it can read.
        target_features: kinds of feature that its targets can be; the first is the usual one.
        attention: what positions may see of each other while its inputs are read.

        per_token: whether there is a target for each id that is read; else for each text.
        per_class: whether a target has an entry for each class.
        target_dtype: name of the dtype of its targets.
        row_classes: `(target, input, classes) -> numbers`, the class of each target of one row, -1
            where it is missing; raises a ValueError that says why a row cannot be used. Needed
            where there are classes.
        standardized: whether its targets are numbers that are learned in units of the training
            split: less the mean of its targets, over their standard deviation (those of `Output`).
            Answers and metrics are in the units of the data.
        encode_targets: from rows to targets and weights `alpha_ij` (float32, 0 where there is no
            target), both `[n]` if `per_token`, else `[rows]`; targets `[rows, classes]` if
            `per_class`.
        blank_class: `(scheme, classes) -> bool`, whether an empty target is a class of its own, not
            a missing target, where the data set has these classes and does not declare them.
        check_classes: `(metrics, scheme, classes) -> (field, reason)` if the classes of a task
            cannot be used with these settings of it, else None.
        check_steps: `(scheme, constrained, classes) -> (field, reason)` if the classes of a task
            cannot be tags that are chosen text by text, else None.
        class_note: `(metrics, scheme, classes) -> text`, what a user should know of how the classes
            of a task are read that names these metrics, maybe none; None for nothing.

        head_outputs: `(loss, num_classes) -> count`, how many numbers its head predicts.
        head: from the settings of a head to its module, one of `mtljax.modules`.
        element_losses: `(predictions, targets, settings) -> losses`, float32, one for each weight;
            None where the head gives a `mtljax.modules.Readout`, trained by a softmax over words.

        predicted_targets: `(predictions, num_classes) -> targets`, what predictions `[...,
            outputs]` say, as targets are; None where the head gives a `mtljax.modules.Readout`.
        chosen_tags: `(predictions, scheme, classes) -> targets`, the same of the predictions of a
            head that gives `mtljax.modules.TagScores`; None for kinds that have none such.
        default_metrics: `(scheme, classes) -> names` of the metrics of a task that names none, the
            main one first; None for the first of `metrics`.
        always_measured: names of metrics that are measured whatever the task names; the loss is.
        metric_state: `(name, predicted, targets, weights, output) -> state`, jitted.
        metric_unit: `(name, output) -> unit`, what one of a metric's state is in the units of the
            data.
        host_metrics: metrics that are counted on the host, by name: `(predicted, targets, scheme,
            classes) -> state` of lists with an array for each text.

        answer_values: `(predictions, num_classes) -> values`, what an answer to a new text needs;
            None for `predicted_targets`.
        answer: `(value, output, words) -> JSON` of the value of one text; of kinds with a target a
            token, of the values of its words; of kinds that write, of the text.
    """

    # What a tasks file may say.
    losses: tuple[str, ...]
    metrics: tuple[str, ...]
    lower_is_better: frozenset[str] = frozenset({"loss"})
    smoothed_losses: tuple[str, ...] = ()
    needs_targets: bool = True
    several_inputs: bool = False
    has_classes: bool = False
    has_spans: bool = False
    writes: Literal["continuation", "answer"] | None = None

    # How inputs are read.
    input_features: tuple[FeatureKind, ...] = ("text", "tokens")
    target_features: tuple[FeatureKind, ...] = ()
    attention: tuple[Attention, ...] = ("bidirectional", "causal")

    # From rows to targets.
    per_token: bool = False
    per_class: bool = False
    target_dtype: str = "int32"
    row_classes: Callable[[Any, Any, Classes], list[int]] | None = None
    standardized: bool = False
    encode_targets: Callable[[TargetRows], tuple[np.ndarray, np.ndarray]]
    blank_class: Callable[[str | None, Sequence[str]], bool] = lambda scheme, classes: False
    check_classes: Callable[[Sequence[str], str | None, Sequence[str]], tuple[str, str] | None] = (
        lambda metrics, scheme, classes: None
    )
    check_steps: Callable[[str | None, bool, Sequence[str]], tuple[str, str] | None] = (
        lambda scheme, constrained, classes: None
    )
    class_note: Callable[[Sequence[str], str | None, Sequence[str]], str | None] = (
        lambda metrics, scheme, classes: None
    )

    # From features to losses.
    head_outputs: Callable[[str, int], int] = _number_of_classes
    head: Callable[["HeadSettings"], Any]
    element_losses: "Callable[[Any, jax.Array, LossSettings], jax.Array] | None" = None

    # From predictions to metrics.
    predicted_targets: "Callable[[jax.Array, int], jax.Array] | None" = None
    chosen_tags: "Callable[[TagScores, str | None, Sequence[str]], jax.Array] | None" = None
    default_metrics: Callable[[str | None, Sequence[str]], tuple[str, ...]] | None = None
    always_measured: tuple[str, ...] = ()
    metric_state: "Callable[[str, jax.Array, jax.Array, jax.Array, Output], State]" = (
        _metric_of_that_name
    )
    metric_unit: Callable[[str, Output], float] = lambda name, output: 1.0
    host_metrics: Mapping[str, Callable[[list, list, str | None, Sequence[str]], Any]] = field(
        default_factory=dict
    )

    # From predictions to answers.
    answer_values: "Callable[[jax.Array, int], jax.Array] | None" = None
    answer: Callable[[Any, Output, Sequence[str]], dict[str, Any]]

    @property
    def reads_whole_texts(self) -> bool:
        """Whether texts longer than a row are answered and measured in overlapping passages.

        So every word has an answer. Kinds that write do without: they continue a text, or answer
        it, from its end.
        """
        return self.per_token and not self.writes


def chosen_loss(kind: Kind, loss: str | None) -> str:
    """The loss that a task of a kind is trained with, where it names `loss` or None.

    `logistic` is another name of `sigmoid`.
    """
    name = loss or kind.losses[0]
    return "sigmoid" if name == "logistic" else name

"""Tagging: one class a word, whose tags may mark spans."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mtljax.kinds.kind import Kind, LossSettings
from mtljax.kinds.labels import Classes, as_class, indexed, short
from mtljax.kinds.one_class import predicted_class, weighted_by_class
from mtljax.kinds.output import Output
from mtljax.kinds.target_rows import TargetRows
from mtljax.span_schemes import (
    SCHEMES,
    are_brackets,
    outside_tags,
    span_scheme,
    tag_marks,
    uncounted_tag,
)
from mtljax.span_steps import allowed_steps

if TYPE_CHECKING:
    import jax

    from mtljax.metrics import F1, State
    from mtljax.modules import HeadSettings, TagScores, TokenHead


def _row_classes(tags: Any, words: Any, classes: Classes) -> list[int]:
    if len(tags) != len(words):
        raise ValueError(f"{len(tags)} tags for {len(words)} words")
    return [as_class(tag, classes) for tag in tags]


def _first_fault(tags: Any, words: Any, classes: Classes) -> int | None:
    """The number of the first tag that is no class; None where there are not as many as words."""
    if len(tags) != len(words):
        return None
    for number, tag in enumerate(tags):
        try:
            as_class(tag, classes)
        except ValueError:
            return number
    return None


def _encode_targets(rows: TargetRows) -> tuple[np.ndarray, np.ndarray]:
    classes = indexed(rows.output.classes, rows.numbered)
    flat: list[int] = []
    offsets = np.zeros(len(rows.rows), np.int64)
    for i, row in enumerate(rows.rows):
        offsets[i] = len(flat)
        tags, words = row[rows.target_name], row[rows.input_name]
        missing = [-1] * len(words)
        try:
            flat += missing if tags is None else _row_classes(tags, words, classes)
        except ValueError as error:
            rows.fault(i, str(error), _first_fault(tags, words, classes))
            flat += missing
    row_of = np.repeat(np.arange(len(rows.rows)), rows.lengths)
    # A last tag that nobody reads keeps the look-up inside the array.
    tags = np.asarray([*flat, -1], np.int32)
    at = np.where(rows.words >= 0, offsets[row_of] + rows.words, len(flat))
    targets = tags[at]
    weights = np.where(targets >= 0, rows.sample_weights()[row_of], 0)
    return np.maximum(targets, 0), weights.astype(np.float32)


def _chosen_scheme(scheme: str | None, classes: Sequence[str]) -> str:
    return span_scheme(classes).scheme if scheme is None else scheme


def _blank_class(scheme: str | None, classes: Sequence[str]) -> bool:
    """Whether an empty tag is the one outside of spans: no other is, and the others mark spans."""
    if outside_tags(classes):
        return False
    return _chosen_scheme(scheme, (*classes, "")) != "none"


def _check_classes(
    metrics: Sequence[str], scheme: str | None, classes: Sequence[str]
) -> tuple[str, str] | None:
    """Tags that do not fit the scheme by which their spans are to be counted."""
    if scheme is None and are_brackets(classes):
        shown = ", ".join(map(short, classes[:4]))
        advice = "write them as B-x, I-x and O, or say 'none' to count them one by one"
        return "scheme", f"tags {shown} are brackets, as of CoNLL-2012, which none reads; {advice}"
    if "span_f1" not in metrics:
        return None
    chosen = _chosen_scheme(scheme, classes)
    if chosen == "none":
        shown = ", ".join(classes[:5])
        reason = "span_f1 needs tags that mark spans, such as B-x and I-x, or a 'scheme'"
        return "metrics", f"{reason}; got {shown}"
    wrong = next((tag for tag, mark in tag_marks(chosen, classes).items() if mark is None), None)
    if wrong is None:
        return None
    other = span_scheme(classes).scheme
    if other not in ("none", chosen):
        return "scheme", f"tag {short(wrong)} is not one of {chosen}; the tags are those of {other}"
    marks = "types" if chosen == "io" else ", ".join(f"{letter}-x" for letter in SCHEMES[chosen])
    expected = f"expected {marks}, or for outside O, 0, _, -, * or an empty tag"
    return "scheme", f"tag {short(wrong)} is not one of {chosen}; {expected}"


def _class_note(metrics: Sequence[str], scheme: str | None, classes: Sequence[str]) -> str | None:
    reading = span_scheme(classes)
    measured = not metrics or (reading.scheme != "none" and "span_f1" in metrics)
    return reading.note if scheme is None and measured else None


def _head(settings: "HeadSettings") -> "TokenHead":
    from mtljax.modules import token_head

    return token_head(settings)


def _element_losses(
    predictions: "jax.Array | TagScores", targets: "jax.Array", settings: LossSettings
) -> "jax.Array":
    from mtljax import losses
    from mtljax.modules import TagScores

    if isinstance(predictions, TagScores) and settings.name == "crf":
        scores, *transitions, texts = predictions
        values = losses.crf(scores, targets, texts, losses.Transitions(*transitions))
    else:
        scores = predictions.scores if isinstance(predictions, TagScores) else predictions
        values = losses.softmax(scores, targets, settings.label_smoothing)
    return weighted_by_class(values, targets, settings.class_weights)


def _chosen_tags(
    predictions: "TagScores", scheme: str | None, classes: Sequence[str]
) -> "jax.Array":
    """The best sequences of tags that the scheme allows, int32 `[R, S]`."""
    import jax.numpy as jnp

    from mtljax import losses

    allowed = allowed_steps(_chosen_scheme(scheme, classes), classes)
    scores, *transitions, texts = predictions
    kept = (
        jnp.where(jnp.asarray(may), part, -jnp.inf)
        for may, part in zip(allowed, transitions, strict=True)
    )
    return losses.viterbi(scores, texts, losses.Transitions(*kept))


def _check_steps(
    scheme: str | None, constrained: bool, classes: Sequence[str]
) -> tuple[str, str] | None:
    chosen = _chosen_scheme(scheme, classes)
    if chosen == "none" and constrained:
        shown = ", ".join(map(short, classes[:4]))
        return "constrained", f"needs tags that mark spans, such as B-x and I-x; got {shown}"
    try:
        allowed_steps(chosen, classes)
    except ValueError as error:
        return "scheme", f"{error}; say 'none' to choose tags without one"
    return None


def _default_metrics(scheme: str | None, classes: Sequence[str]) -> tuple[str, ...]:
    """`span_f1` where the tags mark spans, else `micro_f1` over the tags other than `O`."""
    if _chosen_scheme(scheme, classes) != "none":
        return ("span_f1", "accuracy")
    some = not classes or uncounted_tag(classes) is not None
    return ("micro_f1", "accuracy") if some else ("accuracy",)


def _metric_state(
    name: str, predicted: "jax.Array", targets: "jax.Array", weights: "jax.Array", output: Output
) -> "State":
    from mtljax import metrics

    if name == "micro_f1":
        tag = uncounted_tag(output.classes)
        outside = -1 if tag is None else output.classes.index(tag)
        return metrics.micro_f1(predicted, targets, weights, outside=outside)
    return metrics.METRICS[name](predicted, targets, weights)


def _span_f1(
    predicted: list[np.ndarray],
    targets: list[np.ndarray],
    scheme: str | None,
    classes: Sequence[str],
) -> "F1":
    from mtljax import metrics

    names = np.asarray(classes)
    answers, labels = ([names[tags].tolist() for tags in lines] for lines in (predicted, targets))
    return metrics.span_f1(answers, labels, _chosen_scheme(scheme, classes), classes)


def _answer(value: np.ndarray, output: Output, words: Sequence[str]) -> dict[str, Any]:
    return {"words": list(words), "tags": [output.classes[tag] for tag in value]}


TAGGING = Kind(
    losses=("softmax", "crf"),
    metrics=("micro_f1", "span_f1", "accuracy", "loss"),
    smoothed_losses=("softmax",),
    has_classes=True,
    has_spans=True,
    input_features=("tokens",),
    target_features=("tags", "tokens"),
    per_token=True,
    row_classes=_row_classes,
    encode_targets=_encode_targets,
    blank_class=_blank_class,
    check_classes=_check_classes,
    check_steps=_check_steps,
    class_note=_class_note,
    head=_head,
    element_losses=_element_losses,
    predicted_targets=predicted_class,
    chosen_tags=_chosen_tags,
    default_metrics=_default_metrics,
    metric_state=_metric_state,
    host_metrics={"span_f1": _span_f1},
    answer=_answer,
)
"""One class a word, predicted at each of its pieces; the tag of the first piece is the word's."""

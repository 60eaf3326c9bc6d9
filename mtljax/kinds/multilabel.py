"""Multi-label classification: any number of classes a text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mtljax.kinds.kind import Kind, LossSettings
from mtljax.kinds.labels import Classes, Indicators, as_class, indexed, short
from mtljax.kinds.output import Output
from mtljax.kinds.target_rows import TargetRows

if TYPE_CHECKING:
    import jax

    from mtljax.metrics import State
    from mtljax.modules import HeadSettings, SegmentHead


def _row_classes(labels: Any, text: Any, classes: Classes) -> list[int]:
    """The classes of a row, by number; -1 alone where one of them is missing.

    Raises:
        ValueError: for what is no class, and for a class that is named twice.
    """
    labels = labels.chosen if isinstance(labels, Indicators) else labels
    numbers = [as_class(label, classes) for label in labels]
    if -1 in numbers:
        return [-1]
    unnamed = not classes.numbered and not any(isinstance(label, str) for label in labels)
    hint = "; indicators, 0 and 1 for each class, need a feature with 'classes'" if unnamed else ""
    if len(set(numbers)) < len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise ValueError(f"label {short(classes.names[twice])} appears twice in a set{hint}")
    # 1, 0 of two classes without names: more likely the first of them alone than both.
    if unnamed and numbers == [1, 0] and len(classes.names) == 2:
        raise ValueError(f"labels [1, 0] could be a set of both classes or of the first{hint}")
    return sorted(numbers)


def _encode_targets(rows: TargetRows) -> tuple[np.ndarray, np.ndarray]:
    classes = indexed(rows.output.classes, rows.numbered)
    targets = np.zeros((len(rows.rows), rows.output.num_classes), np.uint8)
    present = np.zeros(len(rows.rows), bool)
    for i, row in enumerate(rows.rows):
        labels = row[rows.target_name]
        if labels is None:
            continue
        try:
            numbers = _row_classes(labels, None, classes)
        except ValueError as error:
            rows.fault(i, str(error))
            continue
        # No label at all is an answer; one that is missing leaves the answer open.
        present[i] = numbers != [-1]
        targets[i, numbers if present[i] else []] = 1
    weights = np.where(present, rows.sample_weights(), 0)
    return targets, weights.astype(np.float32)


def _head(settings: "HeadSettings") -> "SegmentHead":
    from mtljax.modules import segment_head

    return segment_head(settings)


def _element_losses(
    predictions: "jax.Array", targets: "jax.Array", settings: LossSettings
) -> "jax.Array":
    """The mean over the classes, after the weight of each."""
    import jax.numpy as jnp

    from mtljax import losses

    terms = losses.sigmoid(predictions, targets, settings.label_smoothing)
    if len(settings.class_weights):
        terms = terms * jnp.asarray(settings.class_weights, jnp.float32)
    return terms.mean(-1)


def _predicted_sets(predictions: "jax.Array", num_classes: int) -> "jax.Array":
    """1 for each class that is more probable than not, else 0."""
    import jax.numpy as jnp

    return (predictions > 0).astype(jnp.int32)


def _metric_state(
    name: str, predicted: "jax.Array", targets: "jax.Array", weights: "jax.Array", output: Output
) -> "State":
    import jax.numpy as jnp

    from mtljax import metrics

    if name == "micro_f1":
        # Counts classes, not texts: each has the weight of its text.
        weights = jnp.broadcast_to(weights[..., None], predicted.shape)
    return metrics.METRICS[name](predicted, targets, weights)


def _probabilities(predictions: "jax.Array", num_classes: int) -> "jax.Array":
    import jax

    return jax.nn.sigmoid(predictions)


def _answer(probabilities: np.ndarray, output: Output, words: Sequence[str]) -> dict[str, Any]:
    by_name = dict(zip(output.classes, map(float, probabilities), strict=True))
    labels = [name for name, probability in by_name.items() if probability > 0.5]
    return {"labels": labels, "probabilities": by_name}


MULTILABEL = Kind(
    losses=("sigmoid",),
    metrics=("micro_f1", "macro_f1", "exact_match", "loss"),
    smoothed_losses=("sigmoid",),
    several_inputs=True,
    has_classes=True,
    target_features=("tags", "tokens"),
    per_class=True,
    target_dtype="uint8",
    row_classes=_row_classes,
    encode_targets=_encode_targets,
    head=_head,
    element_losses=_element_losses,
    predicted_targets=_predicted_sets,
    metric_state=_metric_state,
    answer_values=_probabilities,
    answer=_answer,
)
"""Any number of classes a text, each by a sigmoid of its own; targets are 1 for those it has."""

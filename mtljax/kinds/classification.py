"""Classification: one class a text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mtljax.kinds.kind import Kind, LossSettings
from mtljax.kinds.labels import Classes, as_class, indexed
from mtljax.kinds.one_class import predicted_class, weighted_by_class
from mtljax.kinds.output import Output
from mtljax.kinds.target_rows import TargetRows

if TYPE_CHECKING:
    import jax

    from mtljax.metrics import State
    from mtljax.modules import HeadSettings, SegmentHead


def _row_classes(target: Any, text: Any, classes: Classes) -> list[int]:
    return [as_class(target, classes)]


def _encode_targets(rows: TargetRows) -> tuple[np.ndarray, np.ndarray]:
    classes = indexed(rows.output.classes, rows.numbered)
    targets = np.full(len(rows.rows), -1, np.int32)
    for i, row in enumerate(rows.rows):
        try:
            targets[i] = as_class(row[rows.target_name], classes)
        except ValueError as error:
            rows.fault(i, str(error))
    weights = np.where(targets >= 0, rows.sample_weights(), 0)
    return np.maximum(targets, 0), weights.astype(np.float32)


def _head_outputs(loss: str, num_classes: int) -> int:
    # Two classes need one logit, unless a softmax normalises over both.
    return 1 if num_classes == 2 and loss != "softmax" else num_classes


def _head(settings: "HeadSettings") -> "SegmentHead":
    from mtljax.modules import segment_head

    return segment_head(settings)


def _element_losses(
    predictions: "jax.Array", targets: "jax.Array", settings: LossSettings
) -> "jax.Array":
    values = _unweighted_losses(predictions, targets, settings)
    return weighted_by_class(values, targets, settings.class_weights)


def _unweighted_losses(
    predictions: "jax.Array", targets: "jax.Array", settings: LossSettings
) -> "jax.Array":
    import jax

    from mtljax import losses

    if settings.name == "softmax":
        return losses.softmax(predictions, targets, settings.label_smoothing)
    if predictions.shape[-1] == 1:
        logit = predictions[..., 0]
        match settings.name:
            case "sigmoid":
                return losses.sigmoid(logit, targets, settings.label_smoothing)
            case "hinge":
                return losses.hinge(logit, targets)
            case _:
                return losses.squared(logit, 2.0 * targets - 1.0)
    one_hot = jax.nn.one_hot(targets, predictions.shape[-1])
    match settings.name:
        case "sigmoid":
            return losses.sigmoid(predictions, one_hot, settings.label_smoothing).sum(-1)
        case "hinge":
            return losses.multiclass_hinge(predictions, targets)
        case _:
            return losses.squared(predictions, 2.0 * one_hot - 1.0).mean(-1)


def _metric_state(
    name: str, predicted: "jax.Array", targets: "jax.Array", weights: "jax.Array", output: Output
) -> "State":
    import jax
    import jax.numpy as jnp

    from mtljax import metrics

    if name != "macro_f1":
        return metrics.METRICS[name](predicted, targets, weights)

    def one_hot(classes: jax.Array) -> jax.Array:
        return jax.nn.one_hot(classes, num_classes=output.num_classes, dtype=jnp.int32)

    return metrics.macro_f1(one_hot(predicted), one_hot(targets), weights)


def _probabilities(predictions: "jax.Array", num_classes: int) -> "jax.Array":
    import jax
    import jax.numpy as jnp

    if predictions.shape[-1] < num_classes:
        # Both sides from the logit itself: 1 - p has no digits left where p is near 1.
        return jax.nn.sigmoid(predictions * jnp.asarray([-1.0, 1.0]))
    return jax.nn.softmax(predictions, axis=-1)


def _answer(probabilities: np.ndarray, output: Output, words: Sequence[str]) -> dict[str, Any]:
    by_name = dict(zip(output.classes, map(float, probabilities), strict=True))
    return {"label": output.classes[int(np.argmax(probabilities))], "probabilities": by_name}


CLASSIFICATION = Kind(
    losses=("softmax", "sigmoid", "logistic", "hinge", "squared"),
    metrics=("accuracy", "macro_f1", "loss"),
    smoothed_losses=("softmax", "sigmoid"),
    several_inputs=True,
    has_classes=True,
    target_features=("label", "number", "text"),
    row_classes=_row_classes,
    encode_targets=_encode_targets,
    head_outputs=_head_outputs,
    head=_head,
    element_losses=_element_losses,
    predicted_targets=predicted_class,
    metric_state=_metric_state,
    answer_values=_probabilities,
    answer=_answer,
)
"""One class a text; the answer has the probability of each."""

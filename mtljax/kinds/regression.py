"""Regression: one number a text, learned in deviations from the mean of the training split."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mtljax.kinds.kind import Kind, LossSettings
from mtljax.kinds.output import Output
from mtljax.kinds.target_rows import TargetRows

if TYPE_CHECKING:
    import jax

    from mtljax.modules import HeadSettings, SegmentHead


def _encode_targets(rows: TargetRows) -> tuple[np.ndarray, np.ndarray]:
    targets = rows.standardized_numbers()
    present = np.isfinite(targets)
    weights = np.where(present, rows.sample_weights(), 0)
    return np.where(present, targets, 0).astype(np.float32), weights.astype(np.float32)


def _head(settings: "HeadSettings") -> "SegmentHead":
    from mtljax.modules import segment_head

    return segment_head(settings)


def _element_losses(
    predictions: "jax.Array", targets: "jax.Array", settings: LossSettings
) -> "jax.Array":
    from mtljax import losses

    functions = {"squared": losses.squared, "absolute": losses.absolute, "huber": losses.huber}
    return functions[settings.name](predictions[..., 0], targets)


def _predicted_number(predictions: "jax.Array", num_classes: int) -> "jax.Array":
    return predictions[..., 0]


def _metric_unit(name: str, output: Output) -> float:
    unit = output.deviation
    return {"mean_squared_error": unit * unit, "mean_absolute_error": unit}.get(name, 1.0)


def _answer(value: np.ndarray, output: Output, words: Sequence[str]) -> dict[str, Any]:
    return {"value": output.mean + output.deviation * float(value)}


REGRESSION = Kind(
    losses=("squared", "absolute", "huber"),
    metrics=("mean_squared_error", "mean_absolute_error", "loss"),
    lower_is_better=frozenset({"mean_squared_error", "mean_absolute_error", "loss"}),
    several_inputs=True,
    target_features=("number", "label"),
    target_dtype="float32",
    standardized=True,
    encode_targets=_encode_targets,
    head=_head,
    element_losses=_element_losses,
    predicted_targets=_predicted_number,
    metric_unit=_metric_unit,
    answer=_answer,
)
"""One number a text, the loss of which is in units of the training split."""

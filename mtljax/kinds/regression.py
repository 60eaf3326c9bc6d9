"""Regression: one number a text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mtljax.kinds.kind import Kind, LossSettings
from mtljax.kinds.target_rows import TargetRows

if TYPE_CHECKING:
    import jax

    from mtljax.modules import HeadSettings, SegmentHead


def _encode_targets(rows: TargetRows) -> tuple[np.ndarray, np.ndarray]:
    targets = rows.numbers()
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


def _answer(value: np.ndarray, classes: Sequence[str], words: Sequence[str]) -> dict[str, Any]:
    return {"value": float(value)}


REGRESSION = Kind(
    losses=("squared", "absolute", "huber"),
    metrics=("mean_squared_error", "mean_absolute_error", "loss"),
    lower_is_better=frozenset({"mean_squared_error", "mean_absolute_error", "loss"}),
    several_inputs=True,
    target_features=("number", "label"),
    target_dtype="float32",
    encode_targets=_encode_targets,
    head=_head,
    element_losses=_element_losses,
    predicted_targets=_predicted_number,
    answer=_answer,
)
"""One number a text."""

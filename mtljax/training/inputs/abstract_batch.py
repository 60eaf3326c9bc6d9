"""The shapes of what a step reads, before any data is read."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mtljax.data import Layout
from mtljax.kinds import KINDS
from mtljax.step.extra import SECOND_BATCH, VALIDATION_BATCH, Extra
from mtljax.training.objective import StepBatch


def abstract_batch(layout: Layout, rows: Mapping[str, int] | None = None) -> StepBatch:
    """The batch of a step as shapes and dtypes.

    Args:
      layout: of the data.
      rows: of each input group, if not those of the layout.
    """
    batches = {}
    for group in layout.groups:
        shape = layout.shapes[group.name]
        count = shape.rows if rows is None else rows[group.name]
        ids = jax.ShapeDtypeStruct((count, shape.row_length), np.int32)
        texts = (count, shape.max_segments)
        batch: dict[str, Any] = dict.fromkeys(("tokens", "segments", "positions"), ids)
        if shape.affixes:
            batch["affixes"] = jax.ShapeDtypeStruct((*ids.shape, shape.affixes), np.int32)
        if shape.words:
            batch["words"] = jax.ShapeDtypeStruct(ids.shape, np.bool_)
        targets, weights = {}, {}
        for task in group.tasks:
            kind = KINDS[task.kind]
            size = ids.shape if kind.per_token else texts
            classes = (layout.outputs[task.name].num_classes,) if kind.per_class else ()
            targets[task.name] = jax.ShapeDtypeStruct((*size, *classes), kind.target_dtype)
            weights[task.name] = jax.ShapeDtypeStruct(size, np.float32)
        batches[group.name] = {**batch, "targets": targets, "weights": weights}
    return batches


def abstract_extra(layout: Layout, requires: frozenset[str]) -> Extra:
    """The further batches of a method that reads these signals, as shapes and dtypes."""
    batch = abstract_batch(layout)
    return Extra(
        batch if requires & SECOND_BATCH else None, batch if requires & VALIDATION_BATCH else None
    )

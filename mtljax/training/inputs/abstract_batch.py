"""The shapes of what a step reads, before any data is read."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mtljax.data import TOKEN_KINDS, Layout
from mtljax.training.inputs.extra import SECOND_BATCH, VALIDATION_BATCH, Extra
from mtljax.training.objective import StepBatch


def abstract_batch(layout: Layout, rows: Mapping[str, int] | None = None) -> StepBatch:
    """The batch of a step as shapes and dtypes.

    Args:
      layout: of the data.
      rows: of each input group, if not those of the layout.
    """
    found = {}
    for group in layout.groups:
        shape = layout.shapes[group.name]
        count = shape.rows if rows is None else rows[group.name]
        ids = jax.ShapeDtypeStruct((count, shape.row_length), np.int32)
        texts = (count, shape.max_segments)
        batch: dict[str, Any] = dict.fromkeys(("tokens", "segments", "positions"), ids)
        if shape.affixes:
            batch["affixes"] = jax.ShapeDtypeStruct((*ids.shape, shape.affixes), np.int32)
        targets, weights = {}, {}
        for task in group.tasks:
            size = ids.shape if task.kind in TOKEN_KINDS else texts
            dtype = {"regression": np.float32, "multilabel": np.uint8}.get(task.kind, np.int32)
            sets = (layout.outputs[task.name].num_classes,) if task.kind == "multilabel" else ()
            targets[task.name] = jax.ShapeDtypeStruct((*size, *sets), dtype)
            weights[task.name] = jax.ShapeDtypeStruct(size, np.float32)
        found[group.name] = {**batch, "targets": targets, "weights": weights}
    return found


def abstract_extra(layout: Layout, requires: frozenset[str]) -> Extra:
    """The further batches of a method that reads these signals, as shapes and dtypes."""
    batch = abstract_batch(layout)
    return Extra(
        batch if requires & SECOND_BATCH else None, batch if requires & VALIDATION_BATCH else None
    )

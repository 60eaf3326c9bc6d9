"""Batches: packed examples as dense arrays of static shapes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mtljax.data.encoding.examples import Examples
from mtljax.data.encoding.packing import pack, spans
from mtljax.kinds import KINDS
from mtljax.tasks.task import Task

GroupBatch = dict[str, Any]
"""One batch of an input group; `R` rows, `S` ids a row, `N` segments a row, `A` affixes.

- `tokens` int32 `[R, S]`, ids, 0 where there is padding
- `affixes` int32 `[R, S, A]`, hashed affixes from 1 and packed characters, only if `A > 0`
- `words` bool `[R, S]`, where a word begins, only where tags of words of several pieces are chosen
  text by text
- `segments` int32 `[R, S]`, 1..N within the row, 0 where there is padding
- `positions` int32 `[R, S]`, position within the segment, from 0
- `targets` by task, of the dtype of its kind: `[R, S]` (kinds with a target for each token) or
  `[R, N]`; sets of classes `[R, N, classes]`
- `weights` by task: float32 `[R, S]` or `[R, N]`, 0 where nothing is counted
- `example` int32 `[R, N]`, only in evaluation: the row of the split that a segment comes from,
  or -1
- `passage` int32 `[R, N]`, only in evaluation: the number of a segment among those of its row of
  the split, which are several where a long text is read in passages; -1 where there is none
"""

HOST_ONLY = ("example", "passage")
"""What the device does not need of an evaluation batch."""

StepBatch = dict[str, GroupBatch]
"""The batch of a step: one batch for each input group, by its name."""


@dataclass(frozen=True)
class Shape:
    """The static shape of an input group's batches.

    Attributes:
        rows: rows in a batch, `R`.
        row_length: ids in a row, `S`.
        max_segments: segments in a row at most, `N`.
        affixes: numbers of each token besides its id, `A`.
        words: whether batches say where words begin.
    """

    rows: int
    row_length: int
    max_segments: int
    affixes: int
    words: bool = False


def evaluation_batches(
    examples: Examples, tasks: Sequence[Task], shape: Shape
) -> Iterator[GroupBatch]:
    """One pass over a split of an input group, each example exactly once.

    Args:
        examples: examples of the split.
        tasks: the tasks of the group, whose targets and weights are put in the batches.
        shape: shape of all batches; the last one is filled up with empty rows.

    Yields:
        A `GroupBatch` with `example` and `passage`.
    """
    # Passages of one row of the split are consecutive.
    number = np.arange(len(examples)) - np.searchsorted(examples.rows, examples.rows)
    packing = pack(examples.lengths, shape.row_length, shape.max_segments, seed=None)
    for row in range(0, packing.num_rows, shape.rows):
        end = min(row + shape.rows, packing.num_rows)
        slots = packing.slots[packing.rows[row] : packing.rows[end]]
        counts = np.zeros(shape.rows, np.int64)
        counts[: end - row] = np.diff(packing.rows[row : end + 1])
        batch = fill(examples, tasks, slots, counts, shape)
        for name, values in (("example", examples.rows), ("passage", number)):
            batch[name] = np.full((shape.rows, shape.max_segments), -1, np.int32)
            batch[name][_rows_and_segments(counts)] = values[slots]
        yield batch


def fill(
    examples: Examples,
    tasks: Sequence[Task],
    slots: np.ndarray,
    counts: np.ndarray,
    shape: Shape,
) -> GroupBatch:
    """Makes the batch of some packed rows.

    Args:
        examples: examples of a split.
        tasks: the tasks whose targets and weights are put in the batch, if the examples have them.
        slots: int64 `[sum(counts)]`, example numbers, row by row.
        counts: int64 `[R]`, examples in each row.
        shape: shape of the batch.

    Returns:
        The arrays of a `GroupBatch`, without those of `HOST_ONLY`.
    """
    # Where each example begins in its row, and from that the flat positions of its ids in the split
    # (`source`) and in the batch (`destination`): one gather and one scatter for each array.
    row, segment = _rows_and_segments(counts)
    lengths = examples.lengths[slots]
    ends = np.cumsum(lengths)
    row_begin = np.concatenate([[0], ends])[np.concatenate([[0], np.cumsum(counts)[:-1]])]
    column = ends - lengths - row_begin[row]
    source = spans(examples.starts[slots], lengths)
    destination = spans(row * shape.row_length + column, lengths)
    size = shape.rows * shape.row_length

    def tokenwise(values: np.ndarray) -> np.ndarray:
        array = np.zeros((size, *values.shape[1:]), values.dtype)
        array[destination] = values
        return array.reshape(shape.rows, shape.row_length, *values.shape[1:])

    def segmentwise(values: np.ndarray) -> np.ndarray:
        array = np.zeros((shape.rows, shape.max_segments, *values.shape[1:]), values.dtype)
        array[row, segment] = values
        return array

    batch: GroupBatch = {"tokens": tokenwise(examples.tokens[source])}
    if shape.affixes:
        batch["affixes"] = tokenwise(examples.affixes[source])
    if examples.words is not None:
        batch["words"] = tokenwise(examples.words[source])
    batch["segments"] = tokenwise(np.repeat(segment + 1, lengths).astype(np.int32))
    within = np.arange(len(source)) - np.repeat(ends - lengths, lengths)
    batch["positions"] = tokenwise(within.astype(np.int32))
    batch["targets"], batch["weights"] = {}, {}
    for task in tasks:
        if task.name not in examples.targets:
            continue
        per_token = KINDS[task.kind].per_token
        put, indices = (tokenwise, source) if per_token else (segmentwise, slots)
        batch["targets"][task.name] = put(examples.targets[task.name][indices])
        batch["weights"][task.name] = put(examples.weights[task.name][indices])
    return batch


def _rows_and_segments(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # The row of each example, and its number within the row.
    row = np.repeat(np.arange(len(counts)), counts)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)


def unpack(batch: GroupBatch, values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Takes the packed outputs of a model apart, example by example.

    Args:
        batch: an evaluation batch.
        values: `[R, N, ...]`, a value for each segment, or `[R, S, ...]`, for each position; where
            `N` equals `S`, read as one for each position.

    Yields:
        The row of the split and its values: `[...]`, or `[length, ...]` with that at `<s>` first.
    """
    values = np.asarray(values)
    per_position = values.shape[:2] == batch["segments"].shape
    for row, segment in zip(*np.nonzero(batch["example"] >= 0), strict=True):
        example = int(batch["example"][row, segment])
        if per_position:
            yield example, values[row][batch["segments"][row] == segment + 1]
        else:
            yield example, values[row, segment]

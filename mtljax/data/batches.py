"""Batches: rows of packed examples as dense arrays of one shape."""

import functools
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mtljax.data.examples import Examples
from mtljax.data.packing import Packing, pack, reshuffle, spans
from mtljax.data.targets import TOKEN_KINDS
from mtljax.tasks.task import Task

GroupBatch = dict[str, Any]
"""One batch of an input group; `R` rows, `S` ids a row, `N` segments a row, `A` affixes.

- `tokens` int32 `[R, S]`, 0 where there is padding
- `affixes` int32 `[R, S, A]`, only if `A > 0`
- `segments` int32 `[R, S]`, 1..N within the row, 0 where there is padding
- `positions` int32 `[R, S]`, position within the segment
- `targets`, `weights` by task: `[R, S]` (tagging, language models) or `[R, N]`; targets of
  multi-label tasks uint8 `[R, N, classes]`
- `example` int32 `[R, N]`, only in evaluation: the row of the split that a segment comes from,
  or -1
"""

StepBatch = dict[str, GroupBatch]
"""The batch of a step: one batch for each input group, by its name."""

_ENDLESS = 1 << 40


@dataclass(frozen=True)
class Shape:
    """The static shape of an input group's batches.

    Attributes:
        rows: rows in a batch, `R`.
        row_length: ids in a row, `S`.
        max_segments: segments in a row at most, `N`.
        affixes: hashed affixes beside each token, `A`.
    """

    rows: int
    row_length: int
    max_segments: int
    affixes: int


class StepIterator(Protocol):
    """An endless iterator over the batches of steps."""

    def __iter__(self) -> Iterator[StepBatch]:
        """Itself."""
        ...

    def __next__(self) -> StepBatch:
        """The batch of the next step."""
        ...

    def get_state(self) -> dict[str, Any]:
        """Where it stands, as a small JSON-able dict: batches handed out so far."""
        ...

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to where another iterator over the same data with the same seed stood."""
        ...

    def close(self) -> None:
        """Ends the thread that reads ahead."""
        ...


def training_batches(
    examples: Mapping[str, Examples],
    tasks: Mapping[str, Sequence[Task]],
    shapes: Mapping[str, Shape],
    seed: int,
    *,
    ahead: int = 4,
    shard: tuple[int, int] = (0, 1),
) -> StepIterator:
    """Endless training batches, made ahead by a thread of Grain's.

    Each input group goes through its examples epoch by epoch, in another order each time. The
    batch of step `i` depends on the seed and `i` alone, so that a run resumes exactly, and any
    number of hosts agree on it.

    Args:
        examples: training examples of each group.
        tasks: tasks of each group.
        shapes: of each group's batches.
        seed: of the order.
        ahead: batches made ahead; 0 makes each when it is asked for, without a thread.
        shard: `(i, n)` gives the `i`-th of `n` equal parts of every batch's rows.

    Returns:
        An iterator with `get_state`, `set_state` and `close`.

    Raises:
        ValueError: if rows cannot be divided among the shards.
    """
    import grain

    index, count = shard
    makers: dict[str, Callable[[int], GroupBatch]] = {}
    for name, shape in shapes.items():
        if shape.rows % count:
            raise ValueError(f"group {name!r}: {shape.rows} rows cannot be divided by {count}")
        group_seed = (seed, zlib.crc32(name.encode()))
        orders = _Orders(examples[name], shape, group_seed)
        size = shape.rows // count
        part = Shape(size, shape.row_length, shape.max_segments, shape.affixes)
        makers[name] = functools.partial(
            _step_batch, examples[name], tasks[name], orders, part, shape.rows, index * size
        )

    def step_batch(step: int) -> StepBatch:
        return {name: make(step) for name, make in makers.items()}

    dataset = grain.MapDataset.range(_ENDLESS).map(step_batch)
    options = grain.ReadOptions(num_threads=min(ahead, 1), prefetch_buffer_size=max(ahead, 1))
    return iter(dataset.to_iter_dataset(options))


class _Orders:
    """The packed rows of each epoch."""

    def __init__(self, examples: Examples, shape: Shape, seed: tuple[int, int]) -> None:
        self._lengths = examples.lengths
        self._seed = seed
        self._packing = pack(self._lengths, shape.row_length, shape.max_segments)
        self.num_rows = self._packing.num_rows
        self.epoch = functools.lru_cache(maxsize=2)(self._epoch)

    def _epoch(self, number: int) -> Packing:
        rng = np.random.default_rng([*self._seed, number])
        return reshuffle(self._packing, self._lengths, rng)


def _step_batch(
    examples: Examples,
    tasks: Sequence[Task],
    orders: _Orders,
    shape: Shape,
    rows_per_step: int,
    offset: int,
    step: int,
) -> GroupBatch:
    # Rows are numbered on through all epochs.
    first = int(step) * rows_per_step + offset
    last = first + shape.rows
    slots, counts = [], []
    while first < last:
        epoch, row = divmod(first, orders.num_rows)
        end = min(row + last - first, orders.num_rows)
        packing = orders.epoch(epoch)
        slots.append(packing.slots[packing.rows[row] : packing.rows[end]])
        counts.append(np.diff(packing.rows[row : end + 1]))
        first += end - row
    return fill(examples, tasks, np.concatenate(slots), np.concatenate(counts), shape)


def evaluation_batches(
    examples: Examples, tasks: Sequence[Task], shape: Shape
) -> Iterator[GroupBatch]:
    """One pass over a split of an input group, each example exactly once.

    Args:
        examples: of the split.
        tasks: of the group.
        shape: of the batches; the last one is filled up with empty rows.

    Yields:
        Batches with `example`.
    """
    packing = pack(examples.lengths, shape.row_length, shape.max_segments, seed=None)
    for row in range(0, packing.num_rows, shape.rows):
        end = min(row + shape.rows, packing.num_rows)
        slots = packing.slots[packing.rows[row] : packing.rows[end]]
        counts = np.zeros(shape.rows, np.int64)
        counts[: end - row] = np.diff(packing.rows[row : end + 1])
        batch = fill(examples, tasks, slots, counts, shape)
        example = np.full((shape.rows, shape.max_segments), -1, np.int32)
        example[_places(counts)] = examples.rows[slots]
        batch["example"] = example
        yield batch


def fill(
    examples: Examples,
    tasks: Sequence[Task],
    slots: np.ndarray,
    counts: np.ndarray,
    shape: Shape,
) -> GroupBatch:
    """Makes a batch of given rows.

    Args:
        examples: where the examples are taken from.
        tasks: those whose targets are wanted, if the examples have them.
        slots: int `[sum(counts)]`, example numbers, row by row.
        counts: int `[R]`, examples in each row.
        shape: of the batch.

    Returns:
        The arrays of a `GroupBatch`, without `example`.
    """
    row, segment = _places(counts)
    lengths = examples.lengths[slots]
    ends = np.cumsum(lengths)
    row_begin = np.concatenate([[0], ends])[np.concatenate([[0], np.cumsum(counts)[:-1]])]
    column = ends - lengths - row_begin[row]
    source = spans(examples.starts[slots], lengths)
    place = spans(row * shape.row_length + column, lengths)
    size = shape.rows * shape.row_length

    def tokenwise(values: np.ndarray) -> np.ndarray:
        array = np.zeros((size, *values.shape[1:]), values.dtype)
        array[place] = values
        return array.reshape(shape.rows, shape.row_length, *values.shape[1:])

    def segmentwise(values: np.ndarray) -> np.ndarray:
        array = np.zeros((shape.rows, shape.max_segments, *values.shape[1:]), values.dtype)
        array[row, segment] = values
        return array

    batch: GroupBatch = {"tokens": tokenwise(examples.tokens[source])}
    if shape.affixes:
        batch["affixes"] = tokenwise(examples.affixes[source])
    batch["segments"] = tokenwise(np.repeat(segment + 1, lengths).astype(np.int32))
    within = np.arange(len(source)) - np.repeat(ends - lengths, lengths)
    batch["positions"] = tokenwise(within.astype(np.int32))
    batch["targets"], batch["weights"] = {}, {}
    for task in tasks:
        if task.name not in examples.targets:
            continue
        per_token = task.kind in TOKEN_KINDS
        put, at = (tokenwise, source) if per_token else (segmentwise, slots)
        batch["targets"][task.name] = put(examples.targets[task.name][at])
        batch["weights"][task.name] = put(examples.weights[task.name][at])
    return batch


def _places(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Row, and number within the row, of each example.
    row = np.repeat(np.arange(len(counts)), counts)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)


def unpack(batch: GroupBatch, values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Takes a model's packed answers apart again.

    Args:
        batch: an evaluation batch.
        values: `[R, N, ...]`, one answer a segment, or `[R, S, ...]`, one a position; where `N`
            equals `S`, taken as one a position.

    Yields:
        The row of the split and its answers: `[...]`, or `[length, ...]` with the one at `<s>`
        first.
    """
    values = np.asarray(values)
    per_position = values.shape[:2] == batch["segments"].shape
    for row, segment in zip(*np.nonzero(batch["example"] >= 0), strict=True):
        example = int(batch["example"][row, segment])
        if per_position:
            yield example, values[row][batch["segments"][row] == segment + 1]
        else:
            yield example, values[row, segment]

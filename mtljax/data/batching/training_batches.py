"""Endless training batches that resume at any step, made ahead by a thread or processes."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from mtljax.data.batching.batches import GroupBatch, Shape, StepBatch, fill
from mtljax.data.batching.group_schedule import GroupSchedule
from mtljax.data.batching.row_order import RowOrder, RowPlan
from mtljax.data.batching.word_renaming import Renaming, rename
from mtljax.data.encoding.examples import Examples
from mtljax.tasks.task import Task

_ENDLESS = 1 << 40
_RENAMING = 1  # keeps the random numbers of renaming apart from those of the order

Shard = tuple[int | Sequence[int], int]
"""Which part, or parts, of every batch's rows, and the number of equal parts."""


class StepIterator(Protocol):
    """An endless iterator over the batches of steps."""

    def __iter__(self) -> Iterator[StepBatch]:
        """Itself."""
        ...

    def __next__(self) -> StepBatch:
        """The batch of the next step."""
        ...

    def get_state(self) -> dict[str, Any]:
        """The position, as JSON: `{"next_index": n}` after `n` batches."""
        ...

    def set_state(self, state: dict[str, Any]) -> None:
        """Moves to the position of another iterator over the same data with the same seed."""
        ...

    def close(self) -> None:
        """Ends the threads or processes that make batches ahead."""
        ...


@dataclass(frozen=True)
class Stream:
    """The training examples of one input group.

    Attributes:
        examples: examples of its training split.
        plan: rows that they fill.
        tasks: the tasks whose targets and weights are put in the batches.
        shape: shape of a batch; its `rows` are not used, since the schedule says how many rows a
            step reads.
        renaming: which words are renamed; None for none.
    """

    examples: Examples
    plan: RowPlan
    tasks: tuple[Task, ...]
    shape: Shape
    renaming: Renaming | None = None


def training_batches(
    streams: Mapping[str, Stream],
    schedule: GroupSchedule,
    seed: int,
    *,
    ahead: int = 4,
    workers: int = 0,
    shard: Shard = (0, 1),
) -> StepIterator:
    """Endless training batches, made ahead by Grain.

    Each input group goes through its examples epoch by epoch, in another order each time. The
    batch of step `i` depends on the seed and `i` alone, so that a run resumes exactly, and any
    number of hosts and workers make the same batches.

    Args:
        streams: the examples of each input group, by its name.
        schedule: rows of each group that a step reads. A group of which a step reads none has one
            empty row for each shard.
        seed: seed of the order, from 0.
        ahead: batches made ahead (by each worker); 0 makes each when it is asked for.
        workers: processes that make them; 0 for a thread.
        shard: `(i, n)` gives the `i`-th of `n` equal parts of every batch's rows; `((i, j), n)`
            the `i`-th and the `j`-th.

    Returns:
        An iterator with `get_state`, `set_state` and `close`.

    Raises:
        ValueError: if rows cannot be divided among the shards.
    """
    return _StepIterator(_StepMaker(streams, schedule, seed, shard), ahead, workers)


class _StepMaker:
    """Makes the batch of any step. It is pickled and sent to worker processes."""

    def __init__(
        self, streams: Mapping[str, Stream], schedule: GroupSchedule, seed: int, shard: Shard
    ) -> None:
        self._streams, self._schedule, self._seed, self._shard = streams, schedule, seed, shard
        # Made when they are first used, so that they are never sent to a worker.
        self._orders: dict[str, RowOrder] = {}
        for name, rows in schedule.rows_at(0).items():
            if rows % shard[1]:
                raise ValueError(f"group {name!r}: {rows} rows cannot be divided by {shard[1]}")

    def __call__(self, step: int) -> StepBatch:
        step = int(step)
        before, rows = self._schedule.rows_before(step), self._schedule.rows_at(step)
        return {name: self._group(name, before[name], rows[name]) for name in self._streams}

    def _group(self, name: str, before: int, rows: int) -> GroupBatch:
        stream, (shards, count) = self._streams[name], self._shard
        shards = (shards,) if isinstance(shards, int) else tuple(shards)
        if rows % count:
            raise ValueError(f"group {name!r}: {rows} rows cannot be divided by {count}")
        shard_rows = rows // count
        firsts = [before + shard * shard_rows for shard in shards]
        shape = replace(stream.shape, rows=len(shards) * max(1, shard_rows))
        if not shard_rows:
            slots, counts = np.zeros(0, np.int64), np.zeros(len(shards), np.int64)
        else:
            order = self._order(name)
            packed = [order.rows(first, first + shard_rows) for first in firsts]
            slots, counts = map(np.concatenate, zip(*packed, strict=True))
        batch = fill(stream.examples, stream.tasks, slots, counts, shape)
        if stream.renaming is None or not shard_rows:
            return batch
        # By the number of the row in the run: any sharding renames the same words.
        seed = (*self._seeds(name), _RENAMING)
        numbers = (first + row for first in firsts for row in range(shard_rows))
        return rename(batch, stream.renaming, [(*seed, number) for number in numbers])

    def _order(self, name: str) -> RowOrder:
        if name not in self._orders:
            stream, seed = self._streams[name], self._seeds(name)
            self._orders[name] = RowOrder(
                stream.examples, stream.plan, stream.shape.row_length, seed
            )
        return self._orders[name]

    def _seeds(self, name: str) -> tuple[int, int]:
        return self._seed, zlib.crc32(name.encode())


class _StepIterator:
    """A `StepIterator` whose state is the number of the next step, whoever makes the batches."""

    def __init__(self, make: _StepMaker, ahead: int, workers: int) -> None:
        self._make, self._ahead, self._workers = make, ahead, workers
        self._next = 0
        self._batches: Any = None  # the iterator of Grain, opened when it is first asked

    def __iter__(self) -> "_StepIterator":
        return self

    def __next__(self) -> StepBatch:
        if self._batches is None:
            self._batches = _batches_from(self._make, self._next, self._ahead, self._workers)
        batch = next(self._batches)
        self._next += 1
        return batch

    def get_state(self) -> dict[str, Any]:
        return {"next_index": self._next}

    def set_state(self, state: dict[str, Any]) -> None:
        self.close()
        self._next = int(state["next_index"])

    def close(self) -> None:
        if self._batches is not None:
            self._batches.close()
        self._batches = None


def _batches_from(make: _StepMaker, first: int, ahead: int, workers: int) -> Any:
    import grain

    steps = grain.MapDataset.range(first, _ENDLESS).map(make)
    options = grain.ReadOptions(num_threads=min(ahead, 1), prefetch_buffer_size=max(ahead, 1))
    batches = steps.to_iter_dataset(options)
    if workers:
        from absl import flags

        # Grain starts its processes through absl, which wants flags to have been parsed.
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        batches = batches.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=max(ahead, 1))
        )
    return iter(batches)

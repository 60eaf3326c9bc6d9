"""Endless training batches that go on from any step, made ahead by threads or processes."""

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
_RENAMING = 1  # sets its random numbers apart from those of the order

Shard = tuple[int | Sequence[int], int]
"""Which parts of every batch's rows, and of how many equal ones."""


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
        """Ends the threads or processes that read ahead."""
        ...


@dataclass(frozen=True)
class Stream:
    """The training examples of one input group.

    Attributes:
        examples: of its training split.
        plan: their rows.
        tasks: those whose targets are wanted.
        shape: of a batch; how many rows a step reads is not taken from it.
        renaming: of its words; None for none.
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
    number of hosts and workers agree on it.

    Args:
        streams: by input group.
        schedule: rows that each step reads of each group. One that it reads none of has a row, for
            each shard, that is empty.
        seed: of the order.
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
    """Makes the batch of any step. It is sent to worker processes."""

    def __init__(
        self, streams: Mapping[str, Stream], schedule: GroupSchedule, seed: int, shard: Shard
    ) -> None:
        self._streams, self._schedule, self._seed, self._shard = streams, schedule, seed, shard
        self._orders: dict[str, RowOrder] = {}  # made where they are used, in a worker perhaps
        for name, rows in schedule.rows_at(0).items():
            if rows % shard[1]:
                raise ValueError(f"group {name!r}: {rows} rows cannot be divided by {shard[1]}")

    def __call__(self, step: int) -> StepBatch:
        step = int(step)
        before, rows = self._schedule.rows_before(step), self._schedule.rows_at(step)
        return {name: self._group(name, before[name], rows[name]) for name in self._streams}

    def _group(self, name: str, before: int, rows: int) -> GroupBatch:
        stream, (which, count) = self._streams[name], self._shard
        blocks = (which,) if isinstance(which, int) else tuple(which)
        if rows % count:
            raise ValueError(f"group {name!r}: {rows} rows cannot be divided by {count}")
        part = rows // count
        firsts = [before + block * part for block in blocks]
        shape = replace(stream.shape, rows=len(blocks) * max(1, part))
        if not part:
            slots, counts = np.zeros(0, np.int64), np.zeros(len(blocks), np.int64)
        else:
            read = [self._order(name).rows(first, first + part) for first in firsts]
            slots, counts = map(np.concatenate, zip(*read, strict=True))
        batch = fill(stream.examples, stream.tasks, slots, counts, shape)
        if stream.renaming is None or not part:
            return batch
        seed = (*self._seeds(name), _RENAMING)
        numbers = (first + row for first in firsts for row in range(part))
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
        self._open: Any = None

    def __iter__(self) -> "_StepIterator":
        return self

    def __next__(self) -> StepBatch:
        if self._open is None:
            self._open = _opened(self._make, self._next, self._ahead, self._workers)
        batch = next(self._open)
        self._next += 1
        return batch

    def get_state(self) -> dict[str, Any]:
        return {"next_index": self._next}

    def set_state(self, state: dict[str, Any]) -> None:
        self.close()
        self._next = int(state["next_index"])

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = None


def _opened(make: _StepMaker, first: int, ahead: int, workers: int) -> Any:
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

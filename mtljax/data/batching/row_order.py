"""The order in which the packed rows of a split are read, epoch by epoch."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtljax.data.encoding.examples import Examples
from mtljax.data.encoding.packing import Packing, pack, reshuffle

BLOCK = 1 << 16
"""Examples that are packed and shuffled together, so that memory does not grow with the set."""


@dataclass(frozen=True)
class RowPlan:
    """How many rows a split fills.

    Block `b` of `n` holds the examples `b`, `b + n`, `b + 2 n`, ...: each is a sample of the entire
    split, whatever order that is in.

    Attributes:
        rows: int64 `[n]`, packed rows of each block.
        max_segments: the most examples in a row.
    """

    rows: np.ndarray
    max_segments: int

    @property
    def num_rows(self) -> int:
        """Rows of an epoch."""
        return int(self.rows.sum())


def plan_rows(examples: Examples, row_length: int, max_segments: int | None = None) -> RowPlan:
    """Packs a split block by block, and keeps the counts.

    Args:
        examples: examples of the split.
        row_length: ids in a row.
        max_segments: examples in a row at most; None for twice the average.
    """
    # By the mean of the entire split: all blocks share one static shape.
    if max_segments is None and len(examples):
        mean = float(examples.starts[-1]) / len(examples)
        max_segments = max(1, 2 * round(row_length / mean))
    count = max(1, -(-len(examples) // BLOCK))
    packed = [
        pack(_lengths(examples, b, count), row_length, max_segments=max_segments)
        for b in range(count)
    ]
    return RowPlan(
        rows=np.asarray([packing.num_rows for packing in packed], np.int64),
        max_segments=max(packing.max_segments for packing in packed),
    )


class RowOrder:
    """Which examples lie in which row; row numbers continue through all epochs.

    An epoch has each example once: its blocks in a random order, the rows of each block in a random
    order, and examples of equal length exchanged at random.

    Args:
        examples: examples of the split.
        plan: rows that they fill, from `plan_rows`.
        row_length: ids in a row.
        seed: integers from 0.
    """

    def __init__(
        self, examples: Examples, plan: RowPlan, row_length: int, seed: Sequence[int]
    ) -> None:
        self._examples = examples
        self._plan = plan
        self._row_length = row_length
        self._seed = tuple(seed)
        self.num_rows = plan.num_rows
        # Two blocks, since the rows of a batch may reach from one into the next.
        self._packed = functools.lru_cache(maxsize=2)(self._pack)
        self._shuffled = functools.lru_cache(maxsize=2)(self._shuffle)

    def rows(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """The examples of rows `first` to `last - 1`.

        Returns:
            Example numbers, int64, row by row, and int64 `[last - first]`, how many each row has.
        """
        slots, counts = [], []
        # One block a round: the rows may reach over blocks and epochs.
        while first < last:
            epoch, epoch_row = divmod(first, self.num_rows)
            blocks, starts = self._blocks(epoch)
            i = int(np.searchsorted(starts, epoch_row, side="right")) - 1
            row = epoch_row - int(starts[i])
            end = min(row + last - first, int(starts[i + 1] - starts[i]))
            packing = self._shuffled(epoch, int(blocks[i]))
            slots.append(packing.slots[packing.rows[row] : packing.rows[end]])
            counts.append(np.diff(packing.rows[row : end + 1]))
            first += end - row
        return np.concatenate(slots), np.concatenate(counts)

    def _blocks(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        # Blocks of an epoch in their order, and the row at which each begins.
        order = np.arange(len(self._plan.rows))
        if len(order) > 1:
            order = np.random.default_rng([*self._seed, epoch]).permutation(order)
        return order, np.concatenate([[0], np.cumsum(self._plan.rows[order])])

    def _pack(self, block: int) -> tuple[Packing, np.ndarray]:
        lengths = _lengths(self._examples, block, len(self._plan.rows))
        return pack(lengths, self._row_length, self._plan.max_segments), lengths

    def _shuffle(self, epoch: int, block: int) -> Packing:
        packing, lengths = self._packed(block)
        shuffled = reshuffle(packing, lengths, np.random.default_rng([*self._seed, epoch, block]))
        slots = block + shuffled.slots * len(self._plan.rows)
        return Packing(slots, shuffled.rows, shuffled.max_segments)


def _lengths(examples: Examples, block: int, blocks: int) -> np.ndarray:
    if blocks == 1:
        return examples.lengths
    return examples.starts[block + 1 :: blocks] - examples.starts[block:-1:blocks]

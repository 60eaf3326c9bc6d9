"""Rows of a split as a sequence that is read block by block, and views of such sequences."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
"""The values of one row, by name of feature."""

IN_MEMORY = 200_000
"""Rows that are kept in memory; a file or split of more is read again in every pass."""

_BLOCK = 4096


class Rows(Sequence[Row]):
    """Rows that are read when they are asked for. An iteration holds one block at a time."""

    def __init__(self, count: Callable[[], int], read: Callable[[int, int], list[Row]]) -> None:
        """Nothing is read yet.

        Args:
            count: returns the number of rows.
            read: from `start` and `stop` to the rows from `start` up to, not including, `stop`.
        """
        self._count = functools.cache(count)
        self._read = read

    def __len__(self) -> int:
        return self._count()

    def __getitem__(self, index: Any) -> Any:
        size = len(self)
        if isinstance(index, slice):
            start, stop, step = index.indices(size)
            if step == 1:
                return self._read(start, max(start, stop))
            return [self[i] for i in range(start, stop, step)]
        if not -size <= index < size:
            raise IndexError(index)
        index %= size
        return self._read(index, index + 1)[0]

    def __iter__(self) -> Iterator[Row]:
        size = len(self)
        for start in range(0, size, _BLOCK):
            yield from self._read(start, min(start + _BLOCK, size))


def subrange(rows: Sequence[Row], choose: Callable[[int], range]) -> Rows:
    """Consecutive rows of a longer sequence.

    Args:
        rows: all rows.
        choose: from their number to the range of those that are taken.
    """
    chosen = functools.cache(lambda: choose(len(rows)))

    def read(start: int, stop: int) -> list[Row]:
        first = chosen().start
        return list(rows[first + start : first + stop])

    return Rows(lambda: len(chosen()), read)


def concatenated(parts: Sequence[Sequence[Row]]) -> Sequence[Row]:
    """Rows of several sequences, one after the other."""
    if len(parts) == 1:
        return parts[0]

    def read(start: int, stop: int) -> list[Row]:
        block: list[Row] = []
        begin = 0
        for rows in parts:
            end = begin + len(rows)
            if start < end and stop > begin:
                block += rows[max(0, start - begin) : min(stop, end) - begin]
            begin = end
        return block

    return Rows(lambda: sum(len(rows) for rows in parts), read)


def mapped(rows: Sequence[Row], function: Callable[[Row], Row]) -> Rows:
    """Rows with a function applied to each when it is read."""
    return Rows(lambda: len(rows), lambda start, stop: [function(row) for row in rows[start:stop]])

"""Rows of a split: a sequence that is read block by block, and views of it."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

IN_MEMORY = 200_000
"""A file or split of more rows is read anew each time it is gone through."""

_BLOCK = 4096


class Rows(Sequence[Row]):
    """Rows that are read when they are asked for.

    Going through them holds one block at a time.
    """

    def __init__(self, count: Callable[[], int], read: Callable[[int, int], list[Row]]) -> None:
        """Nothing is read yet.

        Args:
            count: the number of rows.
            read: the rows from a first one up to, not including, another.
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
    """Consecutive rows of others.

    Args:
        rows: the others.
        choose: from their number to the range that is wanted.
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
        found: list[Row] = []
        begin = 0
        for rows in parts:
            end = begin + len(rows)
            if start < end and stop > begin:
                found += rows[max(0, start - begin) : min(stop, end) - begin]
            begin = end
        return found

    return Rows(lambda: sum(len(rows) for rows in parts), read)


def mapped(rows: Sequence[Row], function: Callable[[Row], Row]) -> Rows:
    """Rows with a function applied to each when it is read."""
    return Rows(lambda: len(rows), lambda start, stop: [function(row) for row in rows[start:stop]])

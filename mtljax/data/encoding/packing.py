"""Packing of several examples into one row, so that little of a batch is padding."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Packing:
    """Which examples lie in which row.

    Attributes:
        slots: int64 `[examples]`, example numbers, row by row.
        rows: int64 `[rows + 1]`, where each row starts in `slots`, and the end of the last one.
        max_segments: the most examples in a row.
    """

    slots: np.ndarray
    rows: np.ndarray
    max_segments: int

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.rows) - 1


def pack(
    lengths: np.ndarray, row_length: int, max_segments: int | None = None, seed: int | None = 0
) -> Packing:
    """Packs examples into rows, each example once.

    Best fit: each example, in random order, goes to the open row with the least room that is
    enough. All rows stay open, so this is done once for a split; `reshuffle` gives the order of an
    epoch. (Random order wastes 1 to 3 % and mixes the lengths; longest first wastes less but fills
    some rows with many short examples.)

    Args:
        lengths: int `[examples]`, ids in each example, from 1 to `row_length`.
        row_length: ids in a row.
        max_segments: examples in a row at most; None for twice the average.
        seed: seed of the order in which examples are put into rows; None for their own order.

    Returns:
        Rows in the order in which they were opened.

    Raises:
        ValueError: if an example is empty or longer than a row.
    """
    if len(lengths) == 0:
        return Packing(np.zeros(0, np.int64), np.zeros(1, np.int64), max_segments or 1)
    if lengths.min() < 1 or lengths.max() > row_length:
        raise ValueError(f"lengths must be from 1 to {row_length}")
    if max_segments is None:
        max_segments = max(1, 2 * round(row_length / float(lengths.mean())))
    order = np.arange(len(lengths))
    if seed is not None:
        order = np.random.default_rng(seed).permutation(order)
    row_of = _best_fit(lengths[order].tolist(), row_length, max_segments)
    slots = order[np.argsort(row_of, kind="stable")]
    counts = np.bincount(row_of)
    return Packing(slots, np.concatenate([[0], np.cumsum(counts)]), int(counts.max()))


def _best_fit(lengths: list[int], row_length: int, max_segments: int) -> np.ndarray:
    # Open rows by the room they have left; bit i of `rooms` says whether there are any with i.
    open_rows: list[list[int]] = [[] for _ in range(row_length + 1)]
    rooms = 0
    counts: list[int] = []
    row_of = np.empty(len(lengths), np.int64)
    for i, length in enumerate(lengths):
        enough = rooms >> length
        if enough:
            room = length + (enough & -enough).bit_length() - 1
            row = open_rows[room].pop()
            if not open_rows[room]:
                rooms ^= 1 << room
        else:
            room, row = row_length, len(counts)
            counts.append(0)
        row_of[i] = row
        counts[row] += 1
        room -= length
        if room and counts[row] < max_segments:
            open_rows[room].append(row)
            rooms |= 1 << room
    return row_of


def reshuffle(packing: Packing, lengths: np.ndarray, rng: np.random.Generator) -> Packing:
    """Another packing with the same number of rows: the order of one epoch.

    Examples of equal length are exchanged, which leaves all rows as full as they were, and the
    rows are put in a random order.

    Args:
        packing: a packing of examples with these lengths.
        lengths: int `[examples]`, ids in each example.
        rng: the generator of the order.
    """
    slots = np.empty_like(packing.slots)
    by_length = np.argsort(lengths[packing.slots], kind="stable")
    slots[by_length] = np.lexsort((rng.random(len(lengths)), lengths))
    counts = np.diff(packing.rows)
    order = rng.permutation(packing.num_rows)
    return Packing(
        slots=slots[spans(packing.rows[:-1][order], counts[order])],
        rows=np.concatenate([[0], np.cumsum(counts[order])]),
        max_segments=packing.max_segments,
    )


def spans(begin: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The indices `begin[i] .. begin[i] + lengths[i] - 1` for each `i`, concatenated.

    >>> spans(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(begin - ends + lengths, lengths)

"""Long texts in overlapping chunks, so that every word is tagged with words on both sides."""

from collections.abc import Sequence
from typing import NamedTuple


class Chunk(NamedTuple):
    """A part of a text that is read at once.

    Attributes:
      begin: index of the first word that is read.
      end: index after the last word that is read.
      first: index of the first word that gets its tag here.
      last: index after the last word that gets its tag here.
    """

    begin: int
    end: int
    first: int
    last: int


def chunks(pieces: Sequence[int], limit: int) -> list[Chunk]:
    """Split a text into overlapping chunks that a model can read at once.

    A quarter of a chunk at each inner edge is context only: its words get their tags in the
    neighbouring chunk, where they are further from the edge.

    Args:
      pieces: number of pieces of each word.
      limit: number of pieces that a chunk may have; a longer word is a chunk of its own.

    Returns:
      Chunks in order, whose ``first`` to ``last`` cover every word once; one empty chunk for a text
      of no words.

    >>> [tuple(chunk) for chunk in chunks([1] * 10, 8)]
    [(0, 8, 0, 6), (4, 10, 6, 10)]
    """
    complete: list[Chunk] = []
    begin = first = 0
    while True:
        end, room = begin, limit
        while end < len(pieces) and (pieces[end] <= room or end == begin):
            room -= pieces[end]
            end += 1
        if end == len(pieces):
            return [*complete, Chunk(begin, end, first, end)]
        # Each chunk tags at least one word, or there would be no end.
        margin = (end - begin) // 4
        last = max(end - margin, first + 1)
        if last > end:  # the context alone filled the chunk
            begin = first
            continue
        complete.append(Chunk(begin, end, first, last))
        begin, first = max(last - margin, begin + 1), last

"""Long texts in overlapping chunks, so that every word is tagged with words on both sides."""

from collections.abc import Sequence
from typing import NamedTuple


class Chunk(NamedTuple):
    """Words ``begin`` to ``end`` of a text, of which ``first`` to ``last`` get their tags here."""

    begin: int
    end: int
    first: int
    last: int


def chunks(pieces: Sequence[int], limit: int) -> list[Chunk]:
    """Cut a text into chunks that a model can read whole.

    A quarter of a chunk at each inner edge is there for context only: its words are tagged in the
    neighbour, where they stand further inside.

    Args:
      pieces: pieces of each word.
      limit: pieces that a chunk may have; a longer word is a chunk of its own.

    Returns:
      Chunks in order, whose ``first`` to ``last`` cover every word once; one empty chunk for a text
      of no words.

    >>> [tuple(chunk) for chunk in chunks([1] * 10, 8)]
    [(0, 8, 0, 6), (4, 10, 6, 10)]
    """
    found: list[Chunk] = []
    begin = first = 0
    while True:
        end, room = begin, limit
        while end < len(pieces) and (pieces[end] <= room or end == begin):
            room -= pieces[end]
            end += 1
        if end == len(pieces):
            return [*found, Chunk(begin, end, first, end)]
        # Each chunk tags at least one word, or there would be no end.
        margin = (end - begin) // 4
        last = max(end - margin, first + 1)
        if last > end:  # the context alone filled the chunk
            begin = first
            continue
        found.append(Chunk(begin, end, first, last))
        begin, first = max(last - margin, begin + 1), last

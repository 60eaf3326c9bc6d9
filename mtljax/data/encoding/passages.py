"""Encoded texts as passages that a model reads at once: cut off, in chunks, or overlapping."""

from typing import NamedTuple

import numpy as np

from mtljax.data.encoding.overlapping_chunks import chunks
from mtljax.data.encoding.packing import spans
from mtljax.data.tokenizers import Encodings


class Passages(NamedTuple):
    """Which ids of some encoded texts are read in which passage.

    Attributes:
        rows: int64 `[passages]`, the text of each; consecutive for passages of one text.
        starts: int64 `[passages + 1]`, where each begins in `indices`, and the end of the last one.
        indices: int64 `[n]`, the ids that are read, passage by passage.
        counted: bool `[n]`, whether a target at this id is counted here: of ids that several
            passages read, in one of them.
    """

    rows: np.ndarray
    starts: np.ndarray
    indices: np.ndarray
    counted: np.ndarray


def cut_off(encodings: Encodings, limit: int, chunked: bool = False) -> Passages:
    """The first ids of each text or, if `chunked`, all of them in consecutive passages.

    Args:
        encodings: the texts.
        limit: ids of a passage at most.
        chunked: whether longer texts are read in several passages.
    """
    starts, lengths = encodings.starts[:-1], np.diff(encodings.starts)
    counts = -(-lengths // limit) if chunked else np.ones_like(lengths)
    rows = np.repeat(np.arange(len(lengths)), counts)
    # Number of each passage within its text.
    number = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = np.minimum(lengths[rows] - number * limit, limit)
    indices = spans(starts[rows] + number * limit, kept)
    return Passages(rows, _ends(kept), indices, np.ones(len(indices), bool))


def overlapping(encodings: Encodings, limit: int, gap: int) -> Passages:
    """All words of each text, in overlapping passages that begin with `<s>`, as taggers read them.

    A word counts in the passage where it has words on both sides
    (`mtljax.data.encoding.overlapping_chunks`).

    Args:
        encodings: lists of words, not truncated.
        limit: ids of a passage at most, `<s>` included.
        gap: ids between two words.
    """
    rows: list[int] = []
    bounds: list[tuple[int, int, int, int]] = []
    lengths = np.diff(encodings.starts)
    for row, (start, length) in enumerate(zip(encodings.starts.tolist(), lengths, strict=False)):
        end = start + int(length)
        if length <= limit:
            rows.append(row)
            bounds.append((start + 1, end, start + 1, end))
            continue
        # Where words begin, and where the one after the last would.
        words = [*(np.flatnonzero(encodings.words[start:end] >= 0) + start).tolist(), end + gap]
        for chunk in chunks(np.diff(words).tolist(), limit - 1 + gap):
            begin = words[chunk.begin]
            last = min(words[chunk.end] - gap, begin + limit - 1)
            rows.append(row)
            bounds.append((begin, last, words[chunk.first], words[chunk.last]))
    row_of = np.asarray(rows, np.int64)
    begin, end, first, last = np.asarray(bounds, np.int64).reshape(-1, 4).T
    # One id more before each passage, which becomes the <s> of its text.
    sizes = end - begin + 1
    starts = _ends(sizes)
    indices = spans(begin - 1, sizes)
    counted = (indices >= np.repeat(first, sizes)) & (indices < np.repeat(last, sizes))
    indices[starts[:-1]] = encodings.starts[row_of]
    counted[starts[:-1]] = np.diff(row_of, prepend=-1) > 0
    return Passages(row_of, starts, indices, counted)


def _ends(sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

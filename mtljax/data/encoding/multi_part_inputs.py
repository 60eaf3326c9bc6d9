"""Inputs of several parts, concatenated to one text: `<s> first </s> second`."""

from collections.abc import Callable, Sequence

import numpy as np

from mtljax.data.encoding.packing import spans
from mtljax.data.tokenizers import Encodings, Text, Tokenizer

Shorten = Callable[[np.ndarray, int], np.ndarray]
"""From the lengths of the parts, int `[texts, P]`, and the most ids of a text to kept lengths."""


def longest_first(lengths: np.ndarray, limit: int) -> np.ndarray:
    """How many ids of each part are kept if the longest part is always the next to lose one.

    Of parts that are equally long the last loses one first.

    Args:
        lengths: int `[texts, P]`, ids of each part, including its mark; at least 1.
        limit: ids of all parts at most, at least P.

    Returns:
        int64 `[texts, P]`, ids that are kept of each part; at least 1.

    >>> longest_first(np.array([[6, 7], [2, 9], [3, 3]]), 9).tolist()
    [[5, 4], [2, 7], [3, 3]]
    """
    parts = lengths.shape[1]
    ascending = np.sort(lengths, axis=1)
    before = np.cumsum(ascending, axis=1) - ascending
    # The length to which longer parts are shortened, if the i-th is the shortest of these.
    common = (limit - before) // np.arange(parts, 0, -1)
    too_long = ascending > common
    first = np.argmax(too_long, axis=1)
    rows = np.arange(len(lengths))
    longest = np.where(too_long.any(axis=1), common[rows, first], ascending[:, -1])
    kept = np.minimum(lengths, longest[:, None])
    # The remainder of the division: one id more for each of the first shortened parts.
    shortened = lengths > longest[:, None]
    remainder = np.minimum(limit - kept.sum(axis=1), shortened.sum(axis=1))
    return kept + (shortened & (np.cumsum(shortened, axis=1) <= remainder[:, None]))


def first_yields(lengths: np.ndarray, limit: int) -> np.ndarray:
    """How many ids of two parts are kept if the first makes room for the second.

    Args:
        lengths: int `[texts, 2]`, ids of each part, including its mark.
        limit: ids of both parts at most, at least 2. Where the second part alone is too long, one
            id more is kept, for the last position to predict.

    Returns:
        int64 `[texts, 2]`, ids that are kept of each part; at least 1.

    >>> first_yields(np.array([[6, 3], [6, 8], [2, 20]]), 9).tolist()
    [[6, 3], [1, 8], [1, 9]]
    """
    first = np.clip(limit - lengths[:, 1], 1, lengths[:, 0])
    return np.stack([first, np.minimum(lengths[:, 1], limit)], axis=1)


def encode_parts(
    parts: Sequence[Sequence[Text]],
    tokenizer: Tokenizer,
    limit: int,
    shorten: Shorten = longest_first,
    between: Sequence[int] | None = None,
) -> Encodings:
    """Encodes texts of several parts.

    Args:
        parts: P lists of texts, one list for each part, all of equal length.
        tokenizer: a trained tokenizer.
        limit: ids of a text at most, including its marks; at least P.
        shorten: how many ids each part of a longer text keeps; each loses its last ones.
        between: ids between two parts, at least one; None for those of the tokenizer.

    Returns:
        The concatenated parts, `<s>` before the first and `</s>` before each other; `words` counts
        within each part.
    """
    marks = tokenizer.marks
    between = marks.between if between is None else between
    # Each later part begins with one mark; where there are to be more, they take room too.
    more = len(between) - 1
    limit -= more * (len(parts) - 1)
    encoded = [tokenizer.encode(texts, limit + 1) for texts in parts]
    lengths = np.stack([np.diff(part.starts) for part in encoded], axis=1)
    kept = shorten(lengths, limit)
    # In the concatenation of all parts, the indices of what is kept: text by text, part by part.
    ends = np.cumsum([0, *(len(part.tokens) for part in encoded)])
    begin = np.stack(
        [part.starts[:-1] + end for part, end in zip(encoded, ends, strict=False)], axis=1
    )
    indices = spans(begin.reshape(-1), kept.reshape(-1))
    tokens = np.concatenate([part.tokens for part in encoded])
    tokens[begin[:, 1:].reshape(-1)] = between[0]
    tokens, words = tokens[indices], np.concatenate([part.words for part in encoded])[indices]
    affixes = np.concatenate([part.affixes for part in encoded])[indices]
    if more:
        marked = np.cumsum(kept.reshape(-1)).reshape(kept.shape)[:, :-1].reshape(-1) + 1
        at = np.repeat(marked, more)
        tokens = np.insert(tokens, at, np.tile(between[1:], len(marked)))
        words, affixes = np.insert(words, at, -1), np.insert(affixes, at, 0, axis=0)
    sizes = kept.sum(axis=1) + more * (len(parts) - 1)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Encodings(tokens=tokens, affixes=affixes, words=words, starts=starts)

"""Inputs of several parts, read one after another in one text: `<s> first </s> second`."""

from collections.abc import Callable, Sequence

import numpy as np

from mtljax.data.encoding.packing import spans
from mtljax.data.tokenizers import Encodings, Text, Tokenizer
from mtljax.special_tokens import END, START

Shorten = Callable[[np.ndarray, int], np.ndarray]
"""From pieces of each part `[texts, P]` and the most there may be to pieces that are kept."""


def longest_first(lengths: np.ndarray, limit: int) -> np.ndarray:
    """How much of each part is kept if the longest part is always the next to lose a piece.

    Of parts that are equally long the last loses one first.

    Args:
        lengths: int `[texts, P]`, pieces of each part, its mark among them; at least 1.
        limit: pieces of all parts together at most, from P.

    Returns:
        int64 `[texts, P]`, from 1.

    >>> longest_first(np.array([[6, 7], [2, 9], [3, 3]]), 9).tolist()
    [[5, 4], [2, 7], [3, 3]]
    """
    parts = lengths.shape[1]
    ascending = np.sort(lengths, axis=1)
    before = np.cumsum(ascending, axis=1) - ascending
    # The height at which those that stick out are cut, if the i-th is the shortest of them.
    heights = (limit - before) // np.arange(parts, 0, -1)
    sticks_out = ascending > heights
    first = np.argmax(sticks_out, axis=1)
    rows = np.arange(len(lengths))
    height = np.where(sticks_out.any(axis=1), heights[rows, first], ascending[:, -1])
    kept = np.minimum(lengths, height[:, None])
    # What is left over is less than a piece for each of them.
    over = lengths > height[:, None]
    left = np.minimum(limit - kept.sum(axis=1), over.sum(axis=1))
    return kept + (over & (np.cumsum(over, axis=1) <= left[:, None]))


def first_yields(lengths: np.ndarray, limit: int) -> np.ndarray:
    """How much of two parts is kept if the first makes room for the second.

    Args:
        lengths: int `[texts, 2]`, pieces of each part, its mark among them.
        limit: pieces of both parts together, from 2. Where the second part alone is too long, one
            piece more is kept, for the last position to predict.

    Returns:
        int64 `[texts, 2]`, from 1.

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
) -> Encodings:
    """Encodes texts of several parts.

    Args:
        parts: P lists of texts, one a part, all of one length.
        tokenizer: a trained one.
        limit: pieces of a text at most, its marks among them; at least P.
        shorten: which pieces a text that is longer loses; each part loses its last ones.

    Returns:
        The parts one after another, `<s>` before the first and `</s>` before each other; `words`
        counts within each part.
    """
    encoded = [tokenizer.encode(texts, limit + 1) for texts in parts]
    lengths = np.stack([np.diff(one.starts) for one in encoded], axis=1)
    kept = shorten(lengths, limit)
    # The parts of a text stand side by side: take the kept pieces of each, text by text.
    ends = np.cumsum([0, *(len(one.tokens) for one in encoded)])
    begin = np.stack(
        [one.starts[:-1] + end for one, end in zip(encoded, ends, strict=False)], axis=1
    )
    at = spans(begin.reshape(-1), kept.reshape(-1))
    tokens = np.concatenate([one.tokens for one in encoded])
    tokens[ends[1] :][tokens[ends[1] :] == START] = END
    return Encodings(
        tokens=tokens[at],
        affixes=np.concatenate([one.affixes for one in encoded])[at],
        words=np.concatenate([one.words for one in encoded])[at],
        starts=np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int64),
    )

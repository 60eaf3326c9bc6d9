"""How much of the texts is cut off, since a row or `max_length` is too short for it."""

from collections.abc import Sequence

import numpy as np

from mtljax.data.tokenizers import Text, Tokenizer

_BATCH = 64  # texts that are encoded at once, in full


def cut_counts(
    parts: Sequence[Sequence[Text]], lengths: np.ndarray, tokenizer: Tokenizer, limit: int
) -> dict[str, int]:
    """Counts the texts that are cut, and what they lose.

    Args:
        parts: P lists of texts, one list for each part of the inputs.
        lengths: int `[texts]`, ids of each input with P marks, of longer ones `limit` or more.
        tokenizer: made the ids; it encodes again, in full, those that may be cut.
        limit: ids of an input at most, with its marks.

    Returns:
        `texts` and `words`, how many there are, and `cut_texts` and `cut_words`, those that are cut
        or not read. A word is an id: a piece of one for tokenizers of pieces.
    """
    kept = np.minimum(lengths, limit) - len(parts)
    full = kept.copy()
    # An input of several parts is as long as allowed where it was shortened.
    candidates = np.flatnonzero(lengths >= limit).tolist()
    for first in range(0, len(candidates), _BATCH):
        numbers = candidates[first : first + _BATCH]
        full[numbers] = sum(
            np.diff(tokenizer.encode([texts[i] for i in numbers]).starts) - 1 for texts in parts
        )
    return counts(full, kept)


def counts(full: np.ndarray, kept: np.ndarray) -> dict[str, int]:
    """The counts of texts of which `full` words `kept` are read, both int `[texts]`."""
    return {
        "texts": len(full),
        "cut_texts": int((kept < full).sum()),
        "words": int(full.sum()),
        "cut_words": int((full - kept).sum()),
    }

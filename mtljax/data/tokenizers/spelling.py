"""Encoding by characters or bytes, with an id for the space between two words of a list."""

from collections.abc import Callable, Sequence

import numpy as np

from mtljax.data.tokenizers.protocol import Encodings, Text
from mtljax.special_tokens import OOV, START


def spell(
    texts: Sequence[Text],
    ids_of: Callable[[str], np.ndarray],
    space: int,
    max_length: int | None,
) -> Encodings:
    """Encodes texts; see `Tokenizer.encode`.

    Args:
        texts: texts, or lists of words.
        ids_of: from a text to its ids, int32; at least one for each character, independent of the
            other characters.
        space: the id between two words of a list, which belongs to neither.
        max_length: ids of a text at most; None for no limit.

    Returns:
        The ids of all texts. An empty word of a list is one `<oov>`.
    """
    limit = None if max_length is None else max(max_length - 1, 0)
    tokens: list[np.ndarray] = []
    words: list[np.ndarray] = []
    starts = [0]
    for text in texts:
        if isinstance(text, str):
            ids = ids_of(text[:limit])[:limit]
            first = np.full(len(ids), -1, np.int32)
        else:
            ids, first = _spell_words(text, ids_of, space, limit)
        tokens += [np.array([START], np.int32), ids]
        words += [np.array([-1], np.int32), first]
        starts.append(starts[-1] + 1 + len(ids))
    none = np.zeros(0, np.int32)
    return Encodings(
        tokens=np.concatenate([none, *tokens]),
        affixes=np.zeros((starts[-1], 0), np.int32),
        words=np.concatenate([none, *words]),
        starts=np.asarray(starts, np.int64),
    )


def _spell_words(
    words: Sequence[str], ids_of: Callable[[str], np.ndarray], space: int, limit: int | None
) -> tuple[np.ndarray, np.ndarray]:
    parts: list[np.ndarray] = []
    begins: list[int] = []
    used = 0
    between, empty = np.array([space], np.int32), np.array([OOV], np.int32)
    for word in words:
        if limit is not None and used >= limit:
            break
        if begins:
            parts.append(between)
            used += 1
        ids = ids_of(word[:limit])
        begins.append(used)
        parts.append(ids if len(ids) else empty)
        used += len(parts[-1])
    first = np.full(used, -1, np.int32)
    first[begins] = np.arange(len(begins))
    return np.concatenate([np.zeros(0, np.int32), *parts])[:limit], first[:limit]

"""Hashed prefixes, suffixes and shapes of words, which unknown words have too."""

import zlib

from mtljax.data.tokenizers.packed_characters import packed_characters
from mtljax.data.tokenizers.settings import TokenizerSettings

_LONGEST_SHAPE = 8


def affix_ids(word: str, settings: TokenizerSettings) -> list[int]:
    """Hashes the affixes of a word, and packs its characters.

    The hash (CRC-32) is the same in every process.

    Args:
        word: the word as written, with its capitals, which only the shape sees if the tokenizer
            lower-cases.
        settings: which affixes, and the number of hash values.

    Returns:
        `settings.hashed` ids from 1 to `settings.affix_buckets`, 0 for an affix longer than the
        word; then the characters, by `packed_characters`.
    """
    form = word.lower() if settings.lowercase else word
    keys = [f"<{form[:n]}" if len(form) >= n else "" for n in settings.prefixes]
    keys += [f"{form[-n:]}>" if len(form) >= n else "" for n in settings.suffixes]
    if settings.shape:
        keys.append(f"={shape(word)}")
    hashed = [_bucket(key, settings.affix_buckets) if key else 0 for key in keys]
    return hashed + packed_characters(word, settings.spelled)


def shape(word: str) -> str:
    """The shape of a word: runs of capitals `X`, other letters `x`, digits `9`, marks as they are.

    >>> shape("McDonald's"), shape("1980s"), shape("re-do"), shape("...")
    ("XxXx'x", '9x', 'x-x', '.')
    """
    runs: list[str] = []
    # Bounded, or a text of a million letters would cost as much as it is long.
    for character in word[:64]:
        if character.isdigit():
            kind = "9"
        elif character.isalpha():
            kind = "X" if character.isupper() else "x"
        else:
            kind = character
        if not runs or runs[-1] != kind:
            runs.append(kind)
    return "".join(runs[:_LONGEST_SHAPE])


def _bucket(key: str, buckets: int) -> int:
    return 1 + zlib.crc32(key.encode("utf-8", "surrogatepass")) % buckets

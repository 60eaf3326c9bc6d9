"""ROUGE-L, on the host."""

import unicodedata
from collections.abc import Sequence

from mtljax.metrics.scripts import units
from mtljax.metrics.states import Mean

_JOINERS = "\u200c\u200d"


def rouge_l(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Mean:
    """Sums the F1 of the longest common subsequence of words (Lin 2004, ROUGE-L).

    Words are runs of letters and digits, with the marks that letters carry, in lower case, without
    stemming; an underscore separates words, and in scripts without blanks each letter is a word. Of
    several references the one with the highest F1 counts.

    Args:
      texts: the generated texts.
      references: for each text the references that it is compared with, one or more.

    Returns:
      A `Mean` state of Python numbers, in [0, 1]. Two texts without words are equal.

    Raises:
      ValueError: a text has no reference, or its references are not a list.

    >>> rouge_l(["police kill the gunman"], [["police killed the gunman", "a gunman"]])
    Mean(total=0.75, count=1)
    """
    check_references(texts, references)
    total = 0.0
    for text, of_text in zip(texts, references, strict=True):
        words = _words(text)
        total += max(_f1(words, _words(reference)) for reference in of_text)
    return Mean(total, len(texts))


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Returns the length of the longest common subsequence, in time ``len(a) * len(b)``.

    >>> common_subsequence("abcbdab", "bdcaba")
    4
    """
    # lengths[j]: of the elements of `a` read so far and the first j elements of `b`.
    lengths = [0] * (len(b) + 1)
    for x in a:
        before_both = 0
        for j, y in enumerate(b, start=1):
            before_x = lengths[j]
            lengths[j] = before_both + 1 if x == y else max(before_x, lengths[j - 1])
            before_both = before_x
    return lengths[-1]


def check_references(texts: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Raises ValueError unless each text has a reference, and references are lists of texts."""
    if len(texts) != len(references):
        raise ValueError(f"references: {len(references)} for {len(texts)} texts")
    for i, of_text in enumerate(references):
        if isinstance(of_text, str):
            raise ValueError(f"references: a list of texts is needed for text {i}, got one text")
        if not of_text:
            raise ValueError(f"references: none for text {i}")


def _words(text: str) -> list[str]:
    return units("".join(char if _in_word(char) else " " for char in text.lower()))


def _in_word(char: str) -> bool:
    # The accents and vowel signs of a letter belong to it: Hindi and NFD have them by themselves.
    return char.isalnum() or char in _JOINERS or unicodedata.category(char).startswith("M")


def _f1(words: Sequence[str], reference: Sequence[str]) -> float:
    total = len(words) + len(reference)
    return 2 * common_subsequence(words, reference) / total if total else 1.0

"""ROUGE-L, on the host."""

import re
from collections.abc import Sequence

from mtljax.metrics.states import Mean

_WORD = re.compile(r"\w+")


def rouge_l(texts: Sequence[str], references: Sequence[Sequence[str]]) -> Mean:
    """Sums the F1 of the longest common subsequence of words (Lin 2004, ROUGE-L).

    Words are runs of letters and digits, in small letters, without stemming. A text counts with the
    reference that it is nearest to.

    Args:
      texts: what was generated.
      references: for each text those that it is compared with, one or more.

    Returns:
      A `Mean` state of Python numbers, in [0, 1]. Two texts without words are equal.

    Raises:
      ValueError: a text has no reference.

    >>> rouge_l(["police kill the gunman"], [["police killed the gunman", "a gunman"]])
    Mean(total=0.75, count=1)
    """
    check_references(texts, references)
    total = 0.0
    for text, own in zip(texts, references, strict=True):
        words = _words(text)
        total += max(_f1(words, _words(reference)) for reference in own)
    return Mean(total, len(texts))


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common subsequence.

    >>> common_subsequence("abcbdab", "bdcaba")
    4
    """
    row = [0] * (len(b) + 1)
    for x in a:
        corner = 0
        for j, y in enumerate(b, start=1):
            above = row[j]
            row[j] = corner + 1 if x == y else max(above, row[j - 1])
            corner = above
    return row[-1]


def check_references(texts: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Raises ValueError unless each text has a reference, and references are lists of texts."""
    if len(texts) != len(references):
        raise ValueError(f"references: {len(references)} for {len(texts)} texts")
    for i, own in enumerate(references):
        if isinstance(own, str):
            raise ValueError(f"references: a list of texts is needed for text {i}, got one text")
        if not own:
            raise ValueError(f"references: none for text {i}")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _f1(words: Sequence[str], reference: Sequence[str]) -> float:
    both = len(words) + len(reference)
    return 2 * common_subsequence(words, reference) / both if both else 1.0

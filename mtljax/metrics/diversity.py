"""Diversity of generated texts, and repetition within them, on the host."""

from collections.abc import Iterable, Sequence

from mtljax.metrics.scripts import units
from mtljax.metrics.states import Mean


def distinct_n(texts: Iterable[str], n: int) -> float:
    """Returns the share of distinct n-grams of all texts (Li et al. 2016, arXiv 1510.03055).

    It falls with the amount of text: compare it between sets of equal size.

    Args:
      texts: the generated texts; words are separated by spaces, see `units`.
      n: words in an n-gram, 1 or more.

    Returns:
      The share, in [0, 1]; 0 where there is no n-gram.

    Raises:
      ValueError: n below 1.

    >>> distinct_n(["a b a", "a b"], 1)
    0.4
    """
    ngrams = [gram for text in texts for gram in _ngrams(units(text), n)]
    return len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def repetition(texts: Iterable[str], n: int = 4) -> Mean:
    """Counts the n-grams that repeat an earlier one of their text.

    The share of Welleck et al. 2020 (arXiv 1908.04319, equation 8), over the n-grams of all texts.

    Args:
      texts: the generated texts; words are separated by spaces, see `units`.
      n: words in an n-gram, 1 or more.

    Returns:
      A `Mean` state of Python integers, in [0, 1].

    Raises:
      ValueError: n below 1.

    >>> repetition(["so it goes so it goes", "a b"], 2)
    Mean(total=2, count=6)
    """
    repeated = count = 0
    for text in texts:
        ngrams = _ngrams(units(text), n)
        repeated += len(ngrams) - len(set(ngrams))
        count += len(ngrams)
    return Mean(repeated, count)


def _ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return list(zip(*(words[i:] for i in range(n)), strict=False))

"""How much generated texts vary, and how much they repeat themselves, on the host."""

from collections.abc import Iterable, Sequence

from mtljax.metrics.states import Mean


def distinct_n(texts: Iterable[str], n: int) -> float:
    """The share of unlike n-grams among those of all texts (Li et al. 2016, arXiv 1510.03055).

    Falls with the amount of text: to be compared between sets of equal size.

    Args:
      texts: what was generated; words are separated by spaces.
      n: from 1.

    Returns:
      In [0, 1]; 0 where there is no n-gram.

    >>> distinct_n(["a b a", "a b"], 1)
    0.4
    """
    found = [gram for text in texts for gram in _ngrams(text.split(), n)]
    return len(set(found)) / len(found) if found else 0.0


def repetition(texts: Iterable[str], n: int = 4) -> Mean:
    """Counts the n-grams that stood in their text before.

    The share of Welleck et al. 2020 (arXiv 1908.04319, equation 8), over all texts together.

    Args:
      texts: what was generated; words are separated by spaces.
      n: from 1.

    Returns:
      A `Mean` state of Python integers, in [0, 1].

    >>> repetition(["so it goes so it goes", "a b"], 2)
    Mean(total=2, count=6)
    """
    again = count = 0
    for text in texts:
        found = _ngrams(text.split(), n)
        again += len(found) - len(set(found))
        count += len(found)
    return Mean(again, count)


def _ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return list(zip(*(words[i:] for i in range(n)), strict=False))

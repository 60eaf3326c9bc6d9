"""Selection of a vocabulary by frequency."""

from collections import Counter
from collections.abc import Iterable


def vocabulary(counts: Iterable[Counter[str]], min_count: int) -> list[str]:
    """The words, or characters, that are frequent enough.

    Args:
        counts: number of occurrences, corpus by corpus.
        min_count: occurrences that one corpus must have.

    Returns:
        The vocabulary, the most frequent in all corpora together first (ties by spelling).

    >>> vocabulary([Counter("aab"), Counter("bccc")], min_count=2)
    ['c', 'a']
    """
    total: Counter[str] = Counter()
    entering: set[str] = set()
    for corpus in counts:
        entering |= {entry for entry, n in corpus.items() if n >= min_count}
        total.update(corpus)
    return sorted(entering, key=lambda entry: (-total[entry], entry))

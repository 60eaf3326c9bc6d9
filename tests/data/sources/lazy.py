"""Rows that refuse to read beyond their end."""

from mtljax.data.sources.lazy_rows import Rows


def lazy(items):
    """Rows over a list that refuse to read beyond it."""

    def read(start, stop):
        assert 0 <= start <= stop <= len(items)
        return items[start:stop]

    return Rows(lambda: len(items), read)

"""Suggestions for misspelled names."""

import difflib
from collections.abc import Iterable


def suggestion(name: object, known: Iterable[str]) -> str:
    """The known names that are close to `name`; if none is, all of them.

    Args:
        name: the name that the user wrote.
        known: all valid names.

    Returns:
        A clause that follows "unknown ...": `; did you mean 'x'?` or `; known: a, b`.

    >>> suggestion("taging", ["tagging", "regression"])
    "; did you mean 'tagging'?"
    >>> suggestion("qq", ["tagging", "regression"])
    '; known: tagging, regression'
    """
    names = list(known)
    folded = {other.lower(): other for other in names}
    close = difflib.get_close_matches(str(name).lower(), folded, n=3, cutoff=0.6)
    if close:
        return "; did you mean " + " or ".join(repr(folded[match]) for match in close) + "?"
    return "; known: " + ", ".join(names) if names else ""

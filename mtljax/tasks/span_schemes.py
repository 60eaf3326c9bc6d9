"""Schemes by which tags mark spans."""

from collections.abc import Sequence

_PREFIXES = {"bio": "BI", "iob1": "BI", "bioes": "BIES"}

SCHEMES: tuple[str, ...] = (*_PREFIXES, "none")
"""How the tags of a tagging task mark spans."""


def misfit(scheme: str, classes: Sequence[str]) -> str | None:
    """The first tag that a scheme does not have, or None.

    >>> misfit("bio", ["O", "B-city", "E-city"])
    'E-city'
    """
    for name in classes:
        prefix = name.split("-")[0]
        if name != "O" and prefix not in tuple(_PREFIXES[scheme]):
            return name
    return None

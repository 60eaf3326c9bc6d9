"""Schemes by which tags mark spans."""

from collections.abc import Sequence

_PREFIXES = {"bio": "BI", "iob1": "BI", "bioes": "BIES"}

SCHEMES: tuple[str, ...] = (*_PREFIXES, "none")
"""How the tags of a tagging task mark spans."""


def span_scheme(scheme: str | None, tags: Sequence[str]) -> str:
    """The scheme by which the spans of some tags are read.

    Args:
        scheme: what the task says; wins unless it is None.
        tags: names of all its tags.

    Returns:
        One of `SCHEMES`. Where the task names none, by the tags other than `O`: `bioes` if all are
        `B-x`, `I-x`, `E-x` or `S-x` and some begin with `E-` or `S-`; `bio` if all are `B-x` or
        `I-x` and some begin with `B-`; `iob1` if all are `I-x`; else `none`. IOB1 tags with a
        `B-x` among them are taken as `bio`, in which they mark the same spans.

    >>> span_scheme(None, ["O", "B-city", "I-city"]), span_scheme(None, ["NOUN", "VERB"])
    ('bio', 'none')
    """
    if scheme is not None:
        return scheme
    marked = [name for name in tags if name != "O"]
    prefixes = {name[0] for name in marked if name[1:2] == "-" and len(name) > 2}
    if not prefixes or any(name[1:2] != "-" or len(name) <= 2 for name in marked):
        return "none"
    if prefixes == {"I"}:
        return "iob1"
    if prefixes <= set("BI"):
        return "bio"
    return "bioes" if prefixes <= set("BIES") else "none"


def misfit(scheme: str, tags: Sequence[str]) -> str | None:
    """The first tag that a scheme does not have, or None.

    >>> misfit("bio", ["O", "B-city", "E-city"])
    'E-city'
    """
    for name in tags:
        prefix = name.split("-")[0]
        if name != "O" and prefix not in tuple(_PREFIXES[scheme]):
            return name
    return None

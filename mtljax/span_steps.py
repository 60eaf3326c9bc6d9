"""Which tags may follow which, by the scheme in which they mark spans."""

import operator
from collections.abc import Iterable
from typing import NamedTuple

from mtljax.span_schemes import Mark, named_marks


class Steps(NamedTuple):
    """Which tags a scheme allows next to each other.

    Attributes:
        between: `[K][K]`, whether the second tag may follow the first.
        start: `[K]`, whether a text may begin with it.
        end: `[K]`, whether a text may end with it.
    """

    between: tuple[tuple[bool, ...], ...]
    start: tuple[bool, ...]
    end: tuple[bool, ...]


# The positions that go on with a span before them, and those that a span goes on after. The other
# schemes read any sequence of their tags: what continues nothing begins a span.
_CONTINUING: dict[str, tuple[str, str]] = {
    "bio": ("I", ""),
    "ioe2": ("", "I"),
    **dict.fromkeys(("bioes", "bilou", "bmes", "bmewo"), ("IE", "BI")),
}


def allowed_steps(scheme: str, tags: Iterable[str]) -> Steps:
    """Which of some tags may follow which, and begin and end a text.

    Args:
        scheme: a name out of `SCHEMES`, or `none`, which allows all.
        tags: all tags that there are, K.

    Raises:
        ValueError: if the scheme does not have one of the tags, or none of the others may stand
            before one of them, or after it.

    >>> allowed_steps("bio", ["O", "B-x", "I-x"])
    Steps(between=((True, True, False), (True, True, True), (True, True, True)), \
start=(True, True, False), end=(True, True, True))
    """
    names = tuple(tags)
    after, on = _CONTINUING.get(scheme, ("", ""))
    if not (after or on):
        every = (True,) * len(names)
        return Steps((every,) * len(names), every, every)
    marks = named_marks(scheme, names)
    read = [marks[name] for name in names]

    def may_follow(first: Mark, second: Mark) -> bool:
        same = first.kind == second.kind
        begun = second.position not in after or (same and first.position in ("B", "I"))
        ended = first.position not in on or (same and second.position in ("I", "E"))
        return begun and ended

    start = tuple(mark.position not in after for mark in read)
    end = tuple(mark.position not in on for mark in read)
    between = tuple(tuple(may_follow(first, second) for second in read) for first in read)
    reached = _reached(between, start)
    left = _reached(tuple(zip(*between, strict=True)), end)
    for name, possible in zip(names, map(operator.and_, reached, left), strict=True):
        if not possible:
            raise ValueError(f"scheme {scheme} forbids {name!r} next to all other tags")
    return Steps(between, start, end)


def _reached(between: tuple[tuple[bool, ...], ...], start: tuple[bool, ...]) -> list[bool]:
    """Whether some sequence of allowed steps leads to each tag."""
    reached, waiting = list(start), [i for i, first in enumerate(start) if first]
    while waiting:
        for after, allowed in enumerate(between[waiting.pop()]):
            if allowed and not reached[after]:
                reached[after] = True
                waiting.append(after)
    return reached

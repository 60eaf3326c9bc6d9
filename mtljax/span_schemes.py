"""Schemes by which tags mark spans: what each tag says of its word, however it is spelt.

A scheme is a set of letters: `B` begins a span, `I` or `M` lies inside of it, `E` or `L` ends it,
`S`, `U` or `W` is a span of one word. They are read equally in every scheme, as conlleval does.
Tags are a letter and a type in either order, `B-x`, `x-B` or `B_x`, or a letter alone; one is for
words outside.
"""

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

SCHEMES: dict[str, str] = {
    "bio": "BI",
    "iob1": "BI",
    "ioe1": "IE",
    "ioe2": "IE",
    "bioes": "BIES",
    "bilou": "BILU",
    "bmes": "BMES",
    "bmewo": "BMEW",
    "io": "I",
}
"""The letters of each scheme. In `io` a tag is a type, and a run of equal tags a span."""

ALIASES: dict[str, str] = {
    **{"iob": "iob1", "iob2": "bio", "bieo": "bioes", "bieso": "bioes", "iobes": "bioes"},
    **{"biluo": "bilou", "bmeso": "bmes", "bmew": "bmewo", "bmeow": "bmewo"},
}
"""Other names of schemes."""

_POSITIONS = dict(zip("OBIMELSUW", "OBIIEESSS", strict=True))
_BRACKETS = re.compile(r"(\([^()*\s]+)*\*\)*")
_OUTSIDE = ("O", "o", "0", "_", "-", "*", "")
# Words for outside are types where the set has one of the above.
_OUTSIDE_WORDS = ("out", "outside", "other", "none", "null", "nil")
_SEPARATORS = "-_:/.|"


class Mark(NamedTuple):
    """What a tag says of its word.

    Attributes:
        position: `B` at the beginning of a span, `I` inside of it, `E` at its end, `S` for a span
            of one word, `O` outside.
        kind: the type of the span; empty without one.
    """

    position: str
    kind: str = ""


_OUT = Mark("O")

Form = Callable[[str], tuple[str, str] | None]
"""A spelling of tags: from a tag to its letter, as it is written, and its type."""


class Reading(NamedTuple):
    """How a set of tags is read where no scheme is named.

    Attributes:
        scheme: a name out of `SCHEMES`, or `none`.
        note: what a user should know of it in one line; None where the tags leave no doubt.
    """

    scheme: str
    note: str | None = None


def canonical(scheme: object) -> str | None:
    """The name in `SCHEMES` of a scheme, or `none`; None for what is no name of one.

    >>> canonical("IOB2"), canonical("none"), canonical("bie")
    ('bio', 'none', None)
    """
    name = scheme.lower() if isinstance(scheme, str) else ""
    name = ALIASES.get(name, name)
    return name if name in SCHEMES or name == "none" else None


def outside_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Those of some tags that say of a word that it is outside of every span.

    >>> outside_tags(["B-x", "0"]), outside_tags(["B-x", "NONE"]), outside_tags(["B-x"])
    (('0',), ('NONE',), ())
    """
    tags = tuple(tags)
    found = tuple(tag for tag in tags if tag in _OUTSIDE)
    return found or tuple(tag for tag in tags if tag.lower() in _OUTSIDE_WORDS)


def uncounted_tag(tags: Sequence[str]) -> str | None:
    """The tag that stands for no answer where tags are counted one by one: `O`, or `0` among names.

    >>> uncounted_tag(["O", "TITLE"]), uncounted_tag(["0", "PER"]), uncounted_tag(["0", "1"])
    ('O', '0', None)
    """
    if "O" in tags:
        return "O"
    named = any(tag != "0" and not tag.isdigit() for tag in tags)
    return "0" if "0" in tags and named else None


def tag_marks(scheme: str, tags: Iterable[str]) -> dict[str, Mark | None]:
    """What each of some tags says, in the spelling that fits most of them.

    Args:
        scheme: a name out of `SCHEMES`.
        tags: all tags that there are.

    Returns:
        The mark of each tag, None for one that the scheme does not have.

    >>> marks = tag_marks("bilou", ["O", "B-x", "L-x", "E-x"])
    >>> marks["L-x"], marks["E-x"]
    (Mark(position='E', kind='x'), None)
    """
    names = tuple(dict.fromkeys(tags))
    outside = outside_tags(names)
    rest = [tag for tag in names if tag not in outside]
    marks: dict[str, Mark | None] = dict.fromkeys(outside, _OUT)
    if scheme == "io":
        # Tags of other schemes, and brackets such as `(x*`, are no types.
        other = span_scheme(names).scheme not in ("none", "iob1")
        inside = all(tag[:2] in ("I-", "I_") for tag in rest)
        return marks | {
            tag: None if other or "*" in tag else Mark("I", tag[2:] if inside else tag)
            for tag in rest
        }
    letters = SCHEMES[scheme]
    best: dict[str, Mark | None] = dict.fromkeys(rest)
    count = 0
    for form in (*_typed_forms(), _bare):
        read = {tag: _mark(form(tag) or _bare(tag), letters) for tag in rest}
        fitting = sum(mark is not None for mark in read.values())
        if fitting > count:
            best, count = read, fitting
    return marks | best


def are_brackets(tags: Iterable[str]) -> bool:
    """Whether tags are brackets around spans, as CoNLL-2012 has names of persons and places.

    What `*` says depends on the tags before it, so that no scheme reads them.

    >>> are_brackets(["(PER*", "*", "*)"]), are_brackets(["*", "B-x"])
    (True, False)
    """
    names = tuple(tags)
    return any("(" in tag for tag in names) and all(map(_BRACKETS.fullmatch, names))


def span_scheme(tags: Iterable[str]) -> Reading:
    """The scheme of some tags where none is named.

    Tags that are all `B-x`, `I-x` and so on mark spans, with or without an `O`. Other spellings do
    where there is a tag for outside as well and some tag begins a span; letters alone where all
    tags are letters of one scheme. Tags such as `PRP-S` among others mark none.

    Args:
        tags: names of all tags.

    Returns:
        The scheme, and a note where it is another spelling, or where tags look as if they marked
        spans and are not read so.

    >>> span_scheme(["O", "B-city", "I-city"]).scheme, span_scheme(["NOUN", "VERB"]).scheme
    ('bio', 'none')
    """
    return _span_scheme(tuple(tags))


@functools.lru_cache(maxsize=256)
def _span_scheme(names: tuple[str, ...]) -> Reading:
    outside = tuple(tag for tag in names if tag in _OUTSIDE)
    rest = [tag for tag in names if tag not in outside]
    if not rest:
        return Reading("none")
    # B-x: certain, unless M, L, U and W, which may be anything, stand alone.
    letters = _letters(_typed_form("-", first=True), rest)
    scheme = _scheme_of(letters or set())
    if letters and scheme and (outside or letters & set("BIES")):
        plain = outside in ((), ("O",))
        return Reading(scheme, None if plain else _read_as(rest, scheme, outside))
    # Other spellings: with an outside and a beginning.
    for form in _typed_forms() if outside else ():
        letters = _letters(form, rest) or set()
        scheme = _scheme_of({letter.upper() for letter in letters})
        if scheme and letters & {"B", "b"} and len({letter.isupper() for letter in letters}) == 1:
            return Reading(scheme, _read_as(rest, scheme, outside))
    # A word for outside, where all others mark spans.
    words = () if outside else outside_tags(rest)
    if len(words) == 1:
        scheme = span_scheme(tag for tag in rest if tag not in words).scheme
        if scheme != "none":
            return Reading(scheme, _read_as(rest, scheme, words))
    scheme = _bare_scheme(rest, bool(outside))
    if scheme is not None:
        return Reading(scheme, _read_as(rest, scheme, outside))
    return Reading("none", _not_read(rest, outside))


def _typed_form(separator: str, first: bool) -> Form:
    def form(tag: str) -> tuple[str, str] | None:
        letter, kind = (tag[:1], tag[2:]) if first else (tag[-1:], tag[:-2])
        between = tag[1:2] if first else tag[-2:-1]
        return (letter, kind) if between == separator and kind else None

    return form


def _typed_forms() -> Iterable[Form]:
    for separator in _SEPARATORS:
        yield _typed_form(separator, first=True)
        yield _typed_form(separator, first=False)


def _bare(tag: str) -> tuple[str, str] | None:
    return (tag, "") if len(tag) == 1 else None


def _mark(parts: tuple[str, str] | None, letters: str) -> Mark | None:
    if parts is None or parts[0].upper() not in tuple(letters):
        return None
    return Mark(_POSITIONS[parts[0].upper()], parts[1])


def _letters(form: Form, tags: Iterable[str]) -> set[str] | None:
    """The letters of tags that are all of a form; None where one is not."""
    parts = [form(tag) for tag in tags]
    return None if None in parts else {part[0] for part in parts if part is not None}


def _scheme_of(letters: set[str]) -> str | None:
    """The first scheme that has all of some letters."""
    if not letters:
        return None
    if letters == {"I"}:
        return "iob1"
    if letters <= {"I", "E"}:
        return "ioe2"
    return next((name for name, own in SCHEMES.items() if letters <= set(own)), None)


def _bare_scheme(tags: Sequence[str], outside: bool) -> str | None:
    letters = {tag.upper() for tag in tags}
    if any(len(tag) != 1 for tag in tags) or len({tag.isupper() for tag in tags}) != 1:
        return None
    scheme = _scheme_of(letters)
    # Without an outside, every word is in a span: begun by B, and going on or ended.
    certain = outside or letters == {"B", "I"} or len(letters) > 2
    return scheme if certain and ("B" in letters or (outside and letters == {"I"})) else None


def _read_as(tags: Sequence[str], scheme: str, outside: Sequence[str]) -> str:
    shown = _shown([tag for tag in tags if tag not in outside])
    without = "".join(f", {tag!r} is outside" for tag in outside)
    return f"tags {shown} mark spans by scheme {scheme}{without}; if not, say 'scheme: none'"


def _not_read(tags: Sequence[str], outside: Sequence[str]) -> str | None:
    """What to say of tags that are counted one by one though they may mark spans."""
    counted = f"tags {_shown(tags)} are counted one by one"
    remedy = f"say which 'scheme' ({', '.join(SCHEMES)} or none)"
    if outside and all(tag.isdigit() for tag in (*tags, *outside)):
        return f"{counted}, as numbers without names; give them 'classes'"
    # Nearly all mark spans.
    for form in _typed_forms():
        parts = {tag: part for tag in tags if (part := form(tag)) and part[0].upper() in _POSITIONS}
        letters = {letter.upper() for letter, _ in parts.values()}
        if len(parts) * 2 > len(tags) and "B" in letters and len(letters) > 1:
            odd = next((tag for tag in tags if tag not in parts), None)
            but = "" if odd is None else f" but for {_shown([odd])}"
            return f"{counted}, though they look like spans{but}; {remedy}"
    if outside:
        return f"{counted}, though {outside[0]!r} may be outside of spans; {remedy}"
    if len(tags) > 1 and all(tag in _POSITIONS for tag in tags):
        return f"{counted}, though they may mark spans; {remedy}"
    return None


def _shown(tags: Sequence[str]) -> str:
    first = [tag if len(tag) <= 20 else f"{tag[:17]}..." for tag in tags[:3]]
    return ", ".join(first) + (", ..." if len(tags) > 3 else "")


def named_marks(scheme: str, tags: Iterable[str]) -> dict[str, Mark]:
    """The mark of each tag; see `tag_marks`.

    Raises:
        ValueError: if there is no such scheme, or it does not have one of the tags.
    """
    name = canonical(scheme)
    if name is None or name == "none":
        raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}, got {scheme!r}")
    marks: dict[str, Mark] = {}
    for tag, mark in tag_marks(name, tags).items():
        if mark is None:
            expected = ", ".join(f"'{letter}-...'" for letter in SCHEMES[name])
            raise ValueError(f"tags: expected 'O', {expected} ({name}), got {tag!r}")
        marks[tag] = mark
    return marks


def read_spans(marks: Iterable[Mark]) -> list[tuple[str, int, int]]:
    """The spans of one sequence of words, as conlleval reads them.

    Args:
        marks: of the words.

    Returns:
        `(type, start, end)` in order, with `end` exclusive.
    """
    result: list[tuple[str, int, int]] = []
    kind, start, index, ended = None, 0, -1, False
    for index, (position, own) in enumerate(marks):
        if kind is not None and (ended or position not in ("I", "E") or own != kind):
            result.append((kind, start, index))
            kind = None
        if position != "O" and kind is None:
            kind, start = own, index
        ended = position in ("E", "S")
    if kind is not None:
        result.append((kind, start, index + 1))
    return result

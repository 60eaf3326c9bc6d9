"""Lists that are written in one text, as in a cell of a table."""

import ast
import json
import re
from typing import Any

_ITEM = re.compile(
    r"""\s*(?P<item>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s,\[\]'"]+)(?P<after>\s*,\s*|\s+|$)""",
    re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,4000}", re.ASCII)
_CONSTANTS = {
    "None": None, "null": None, "True": True, "true": True, "False": False, "false": False,
    "nan": float("nan"), "NaN": float("nan"),
}  # fmt: skip


def split_cell(text: str, separator: str | None = None) -> list[Any]:
    """The items of a list that is written in one text.

    What begins with `[` is a list in JSON, in Python or as NumPy prints it, with quoted texts.
    Anything else is split at the separator.

    Args:
        text: of a cell.
        separator: between items, which lose the blanks around them; None for blanks.

    Returns:
        The items: texts and, of a list in `[]`, numbers, truth values and None.

    Raises:
        ValueError: for what begins with `[` and is no list, unless a separator is given.

    >>> split_cell("['EU', 'rejects']"), split_cell("a b"), split_cell("New York; Rome", ";")
    (['EU', 'rejects'], ['a', 'b'], ['New York', 'Rome'])
    """
    text = text.strip()
    if text.startswith("["):
        items = _bracketed(text)
        if items is not None:
            return items
        if separator is None or text[1:].lstrip()[:1] in ("'", '"'):
            shown = text if len(text) <= 60 else text[:57] + "..."
            raise ValueError(
                f"{shown!r} begins with '[' and is no list in JSON or Python; where it is text, "
                "give the feature a 'separator'"
            )
    if separator is None or separator == " ":
        return text.split()
    return [item.strip() for item in text.split(separator)] if text else []


def _bracketed(text: str) -> list[Any] | None:
    # JSON is tried first: most lists are, and its reader is the fastest.
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        items = _python_list(text)
    if items is None or any(isinstance(item, list | dict) for item in items):
        return None
    return items


def _python_list(text: str) -> list[Any] | None:
    if not text.endswith("]"):
        return None
    inside = text[1:-1].strip()
    items: list[Any] = []
    separators = set()
    at = 0
    while at < len(inside):
        match = _ITEM.match(inside, at)
        if match is None:
            return None
        written = match["item"]
        if written[0] in "'\"":
            # Not Python's own reader of lists: to it 'a' 'b' is one text, 'ab'.
            try:
                items.append(ast.literal_eval(written) if "\\" in written else written[1:-1])
            except (ValueError, SyntaxError):
                return None
        elif written in _CONSTANTS:
            items.append(_CONSTANTS[written])
        elif _NUMBER.fullmatch(written):
            items.append(int(written) if _INTEGER.fullmatch(written) else float(written))
        else:
            return None
        at = match.end()
        if at < len(inside):
            separators.add("," if "," in match["after"] else " ")
    return items if len(separators) <= 1 else None

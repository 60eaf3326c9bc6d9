"""Docstrings of the package as reStructuredText: their Markdown tables, and names in backticks."""

import re
from collections.abc import Iterable
from typing import Any

ROW = re.compile(r"^\s*\|(.*)\|\s*$")
RULE = re.compile(r"^\s*\|[\s|:-]+\|\s*$")
NAME = re.compile(r"(?<![`:\w])`([A-Za-z_][\w.]*)`(?![`_\w])")


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    # Before napoleon, which reads the sections.
    app.connect("autodoc-process-docstring", _process, priority=400)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _process(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    lines[:] = to_rst(lines, lambda target: _public(app, target))


def _skip(app: Any, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    # Fields of a NamedTuple, and the properties that hold them: the class's docstring has them.
    return True if type(value).__name__ in ("_tuplegetter", "member_descriptor") else None


def _public(app: Any, target: str) -> bool:
    import reference_pages

    return target in reference_pages.names()


def to_rst(lines: Iterable[str], known: Any = lambda target: False) -> list[str]:
    """Tables become ``list-table``, and names of the package links to where they are described.

    Args:
      lines: of a docstring.
      known: whether a full name has an entry.

    Returns:
      The lines, changed where they have to be.
    """
    result: list[str] = []
    table: list[str] = []
    for line in [*lines, ""]:
        if ROW.match(line):
            table.append(line)
            continue
        if table:
            result += _table(table)
            table = []
        result.append(NAME.sub(lambda match: _link(match[1], known), line))
    return result[:-1]


def _link(target: str, known: Any) -> str:
    full = f"mtljax.{target}"
    return f"`{target} <{full}>`" if "." in target and known(full) else f"`{target}`"


def _table(rows: list[str]) -> list[str]:
    indent = " " * (len(rows[0]) - len(rows[0].lstrip()))
    cells = [cells_of(row) for row in rows if not RULE.match(row)]
    head = int(len(rows) > 1 and bool(RULE.match(rows[1])))
    lines = ["", f"{indent}.. list-table::", f"{indent}   :header-rows: {head}", ""]
    for row in cells:
        for place, cell in enumerate(row):
            lines.append(f"{indent}   {'* -' if place == 0 else '  -'} {cell}".rstrip())
    return [*lines, ""]


def cells_of(row: str) -> list[str]:
    """The cells of a row of a Markdown table.

    >>> cells_of("| a | b |")
    ['a', 'b']
    """
    match = ROW.match(row)
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", match[1])] if match else []

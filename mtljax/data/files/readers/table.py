"""Tables with a separator between their columns: CSV and TSV."""

import csv
import re
from collections.abc import Iterator, Sequence

from mtljax.data.files.readers.lines import Lines, Record

_LONGEST_CELL = 2**31 - 1  # what the standard library counts to everywhere
_MANY = 12  # separators in the lines of a cell, as many a line as rows have, that are no accident
_QUOTE_AFTER_BLANKS = re.compile(r' +"')


def read_table(
    lines: Lines,
    separator: str,
    quotes: bool,
    width: int | None = None,
    escape: str | None = None,
    skip_blanks: bool = False,
) -> Iterator[Record]:
    """Reads the rows of a table; empty lines are skipped.

    After a damaged row that seemed to reach over several lines, as one with a stray quote does,
    reading continues with the line after its first. A quote that another one closes by chance, many
    lines further on, is told by these lines: each has as many columns as a row.

    Args:
        lines: lines of the file.
        separator: one character.
        quotes: whether `"` quotes a cell, which may then hold separators and line ends.
        width: number of columns that a row must have; None for any.
        escape: a character before one that is meant as it is, such as a quote or a separator.
        skip_blanks: whether blanks at the beginning of a cell are left out.

    Yields:
        Records whose values are lists of str.
    """
    reader = None
    if quotes or escape or skip_blanks:
        csv.field_size_limit(_LONGEST_CELL)  # a setting of the whole process
        reader = csv.reader(
            lines,
            delimiter=separator,
            quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
            escapechar=escape,
            skipinitialspace=skip_blanks,
            strict=True,
        )
    while True:
        lines.mark()
        first = lines.number + 1
        problem = None
        cells: list[str] = []
        try:
            cells = next(reader) if reader else next(lines).rstrip("\r\n").split(separator)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"not CSV: {error}"
            if not escape and any(b'\\"' in line for line in lines.since_mark[:1]):
                problem += r" (if \" is a quote in a cell, give the source escape: '\')"
        if problem is None:
            if cells in ([], [""]):
                continue
            if width is not None and len(cells) != width:
                problem = f"{len(cells)} columns where there should be {width}"
                if quotes and not skip_blanks and any(map(begins_quoted, cells)):
                    problem += " (for blanks before quotes, give the source skip_blanks: true)"
            elif width is not None and _are_rows(lines.since_mark, separator, width):
                further = f"a quote that is closed {lines.number - first} lines further on"
                problem = f"{further}, and all of these lines have the {width} columns of a row"
        if problem is not None:
            lines.back()
        yield Record(first, cells, problem)


def _are_rows(lines: Sequence[bytes], separator: str, width: int) -> bool:
    """Whether the lines of one row are so many that look like rows that they must be."""
    if (len(lines) - 1) * (width - 1) < _MANY:
        return False
    mark = separator.encode()
    return all(line.count(mark) == width - 1 for line in lines if line.strip())


def begins_quoted(cell: str) -> bool:
    """Whether a cell begins with blanks and a quote, which then quotes nothing.

    >>> begins_quoted(' "a"'), begins_quoted('"a"')
    (True, False)
    """
    return _QUOTE_AFTER_BLANKS.match(cell) is not None


def quoted_columns(rows: Sequence[Sequence[str]]) -> list[int]:
    """The columns whose cells all begin with blanks, and some of them with a quote after these.

    Args:
        rows: the first rows of a table, of equal lengths, without names of columns.
    """
    columns = [[cell for cell in column if cell.strip()] for column in zip(*rows, strict=True)]
    return [
        i
        for i, cells in enumerate(columns)
        if all(cell.startswith(" ") for cell in cells) and any(map(begins_quoted, cells))
    ]

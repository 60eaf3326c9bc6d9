"""Tables with a separator between their columns: CSV and TSV."""

import csv
from collections.abc import Iterator

from mtljax.data.files.readers.lines import Lines, Record


def read_table(
    lines: Lines, separator: str, quotes: bool, width: int | None = None
) -> Iterator[Record]:
    """Reads the rows of a table; empty lines are skipped.

    After a damaged row that seemed to reach over several lines, as one with a stray quote does,
    reading continues with the line after its first.

    Args:
        lines: lines of the file.
        separator: one character.
        quotes: whether `"` quotes a cell, which may then hold separators and line ends.
        width: number of columns that a row must have; None for any.

    Yields:
        Records whose values are lists of str.
    """
    reader = csv.reader(lines, delimiter=separator, strict=True) if quotes else None
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
        if problem is None:
            if cells in ([], [""]):
                continue
            if width is not None and len(cells) != width:
                problem = f"{len(cells)} columns where there should be {width}"
        if problem is not None:
            lines.back()
        yield Record(first, cells, problem)

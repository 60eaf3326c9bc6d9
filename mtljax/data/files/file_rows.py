"""The rows of one file: checked in a first pass, then kept in memory or read again in blocks."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from mtljax.data.files.formats import Opened
from mtljax.data.files.readers import Lines, Record
from mtljax.data.sources.bad_rows import READ_ERRORS, BadRows
from mtljax.data.sources.lazy_rows import IN_MEMORY, Row
from mtljax.errors import UserError, reason_of

_MARK_EVERY = 1024  # rows between two marks, which a read at any row has to skip at most


class FileRows:
    """The rows of a file.

    The first pass reads all of it, checks and counts the rows and keeps up to `IN_MEMORY` of them;
    if there are more, it keeps only where every 1,024th begins.

    Attributes:
        path: path of the file.
        bad: for each malformed row that was left out, the number of good rows before it; None
            before the first pass.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        open_rows: Callable[[Path], tuple[Opened, Callable[[object], Row]]],
        bad_rows: BadRows,
    ) -> None:
        """Nothing is read yet.

        Args:
            name: name of the source, for messages.
            path: path of the file.
            open_rows: finds out how the file is read, and how the values of a record become a row.
                The latter raises ValueError for values that cannot.
            bad_rows: what a malformed row does.
        """
        self.path = path
        self.bad: list[int] | None = None
        self._name = name
        self._open_rows = open_rows
        self._bad_rows = bad_rows
        self._rows: list[Row] | None = None
        self._size = 0
        # Offset and line after which every 1,024th good row begins.
        self._marks: list[tuple[int, int]] = [(0, 0)]
        # Unfinished passes by the number of their next row: reading in order opens the file once.
        self._unfinished: dict[int, Iterator[tuple[Row | None, Record, Lines]]] = {}

    def count(self) -> int:
        """The number of good rows.

        Raises:
            UserError: naming file and line, for a malformed row that stops, or if the file cannot
                be read.
        """
        if self.bad is None:
            self._check()
        return self._size

    def read(self, start: int, stop: int) -> list[Row]:
        """Some of the good rows, by their numbers."""
        self.count()
        if self._rows is not None:
            return self._rows[start:stop]
        if start >= stop:
            return []
        rows_from = self._unfinished.pop(start, None)
        number = start
        if rows_from is None:
            number = start - start % _MARK_EVERY
            rows_from = self._pass(*self._marks[number // _MARK_EVERY])
        block: list[Row] = []
        for row, _, _ in rows_from:
            if row is None:
                continue
            if number >= start:
                block.append(row)
            number += 1
            if number == stop:
                break
        if number < stop:
            raise UserError(f"{self._where}: has changed while it was read")
        self._unfinished = {stop: rows_from}
        return block

    def line_of(self, matches: Callable[[Row], bool], item: int | None = None) -> int | None:
        """The number of the line that the first row of some description begins in.

        Args:
            matches: whether a row is the one.
            item: an item of the row; where each has a line of its own, that line is returned.

        Returns:
            The number, from 1; None where no row is the one.
        """
        for row, record, _ in self._pass(0, 0):
            if row is not None and matches(row):
                own = item is not None and item < len(record.item_lines)
                return record.item_lines[item or 0] if own else record.line
        return None

    @property
    def _where(self) -> str:
        return f"source {self._name!r}, {self.path}"

    def _check(self) -> None:
        # Assigned at the end only, so that a pass that fails is repeated and fails again.
        rows: list[Row] | None = []
        bad: list[int] = []
        marks, size = [(0, 0)], 0
        for row, record, lines in self._pass(0, 0):
            if row is None:
                if self._bad_rows == "stop":
                    raise UserError(f"{self._where}, line {record.line}: {record.problem}")
                bad.append(size)
                continue
            size += 1
            if rows is not None:
                rows.append(row)
            if size > IN_MEMORY:
                rows = None
            if size % _MARK_EVERY == 0:
                marks.append((lines.offset, lines.number))
        self._rows, self._marks, self._size, self.bad = rows, marks, size, bad

    def _pass(self, offset: int, number: int) -> Iterator[tuple[Row | None, Record, Lines]]:
        # Each record with its row, or None and the record's problem.
        with self._errors_named():
            opened, to_row = self._open_rows(self.path)
            with opened.open(self.path) as file:
                lines = Lines(file, offset, number)
                for record in opened.records(lines):
                    # Decoded with U+FFFD by then, so that the format itself sees no error.
                    if lines.damaged:
                        record = record._replace(line=lines.damaged, problem="not UTF-8 text")
                        lines.damaged = 0
                    row = None
                    if record.problem is None:
                        try:
                            row = to_row(record.values)
                        except ValueError as error:
                            record = record._replace(problem=str(error))
                    yield row, record, lines

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except READ_ERRORS as error:
            raise UserError(f"{self._where}: cannot be read: {reason_of(error)}") from error
        except ValueError as error:
            raise UserError(f"{self._where}: {error}") from None

"""Lines of a text file, with their numbers and byte offsets."""

import gzip
import lzma
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, cast


class Record(NamedTuple):
    """One row of a file, parsed but not yet converted.

    Attributes:
        line: the number of its first line, from 1; of a damaged record that of the damaged line.
        values: its values, in a form that depends on the format.
        problem: what is wrong with it, or None.
        item_lines: where its values are lists with an item a line, the numbers of those lines.
    """

    line: int
    values: Any
    problem: str | None = None
    item_lines: Sequence[int] = ()


def open_file(path: Path) -> IO[bytes]:
    """Opens a file for reading, unpacked if it ends in `.gz` or `.xz`."""
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if path.suffix == ".xz":
        return lzma.open(path, "rb")
    return path.open("rb")


class Lines:
    """An iterator over the lines of a file, with their ends.

    Attributes:
        number: number of the last line that was returned, from 1.
        offset: the byte at which the next line begins.
        damaged: the number of a line that was not UTF-8, until the caller sets it back to 0.
    """

    def __init__(self, file: IO[bytes], offset: int = 0, number: int = 0) -> None:
        """Begins at a byte where a line begins.

        Args:
            file: open for reading; the caller closes it.
            offset: the byte.
            number: number of the line before it.
        """
        if offset:
            file.seek(offset)
        self._file = file
        self._waiting: deque[bytes] = deque()
        self._since_mark: list[bytes] | None = None
        self.offset = offset
        self.number = number
        self.damaged = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self._waiting.popleft() if self._waiting else self._file.readline()
        if not raw:
            raise StopIteration
        if self._since_mark is not None:
            self._since_mark.append(raw)
        self.number += 1
        first = self.offset == 0
        self.offset += len(raw)
        try:
            return raw.decode("utf-8-sig" if first else "utf-8")
        except UnicodeDecodeError:
            self.damaged = self.number
            return raw.decode("utf-8", errors="replace")

    def mark(self) -> None:
        """Remembers the present position, for `back`."""
        self._since_mark = []

    def back(self) -> None:
        """Goes back to one line after the marked position, if it is beyond it."""
        returned = (self._since_mark or [])[1:]
        self._waiting.extendleft(reversed(returned))
        self.number -= len(returned)
        self.offset -= sum(map(len, returned))
        self._since_mark = []

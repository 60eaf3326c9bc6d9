"""Lines of a text file, with their numbers and byte offsets."""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

_PIECE = 1 << 16  # bytes of a line that are read at once
# As in Python's own text files; CR CR LF is what comes of CR LF that was converted twice.
_END = re.compile(rb"\r{0,2}\n|\r")
_LINE = re.compile(rb"[^\r\n]*(?:\r{0,2}\n|\r)|[^\r\n]+")


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


class Lines:
    """An iterator over the lines of a file, with their ends: LF, CR LF or CR.

    Attributes:
        number: number of the last line that was returned, from 1.
        offset: the byte at which the next line begins.
        damaged: the number of a line that was not UTF-8, until the caller sets it back to 0.
    """

    def __init__(self, file: IO[bytes], offset: int = 0, number: int = 0) -> None:
        """Begins at a byte where a line begins.

        Args:
            file: open for reading, as `open_file` does; the caller closes it.
            offset: the byte.
            number: number of the line before it.
        """
        if offset:
            file.seek(offset)
        self._file = file
        self._waiting: deque[bytes] = deque()  # lines that were read
        self._begun: list[bytes] = []  # pieces of the line after them
        self._since_mark: list[bytes] | None = None
        self.offset = offset
        self.number = number
        self.damaged = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self._waiting.popleft() if self._waiting else self._read()
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

    @property
    def since_mark(self) -> Sequence[bytes]:
        """The lines that were returned after the marked position."""
        return self._since_mark or []

    def back(self) -> None:
        """Goes back to one line after the marked position, if it is beyond it."""
        returned = (self._since_mark or [])[1:]
        self._waiting.extendleft(reversed(returned))
        self.number -= len(returned)
        self.offset -= sum(map(len, returned))
        self._since_mark = []

    def _read(self) -> bytes:
        # The next line; in a file of CR line ends, `readline` alone would return all of it.
        while not self._waiting:
            piece = self._file.readline(_PIECE)
            if not self._begun and piece.endswith(b"\n") and piece.find(b"\r", 0, -2) < 0:
                return piece
            if piece and _END.search(piece) is None and not self._ends_in_cr():
                self._begun.append(piece)
                continue
            lines = _LINE.findall(b"".join([*self._begun, piece]))
            self._begun = []
            # More may follow of the last line, and LF after one or two CR.
            if piece and lines and not lines[-1].endswith(b"\n"):
                held = 2 if lines[-1] == b"\r" else 1
                lines, self._begun = lines[:-held], lines[-held:]
            self._waiting.extend(lines)
            if not piece:
                break
        return self._waiting.popleft() if self._waiting else b""

    def _ends_in_cr(self) -> bool:
        return bool(self._begun) and self._begun[-1].endswith(b"\r")

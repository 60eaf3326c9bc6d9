"""A file whose bytes are made of those of another one: unpacked, or in another encoding."""

import io
from collections.abc import Callable, Iterator
from typing import IO, Any

BLOCK = 1 << 16
"""Bytes that are read at a time."""

Filter = Callable[[IO[bytes]], Iterator[bytes]]
"""From a file, open at its start, to blocks of bytes, which may be empty."""


def filtered(file: IO[bytes], make_blocks: Filter) -> IO[bytes]:
    """A file that reads what a filter makes of another one.

    Args:
        file: open at its start; closed with the returned file.
        make_blocks: the filter, which runs again from the start where the file is set back.

    Returns:
        The file, open for reading.
    """
    return io.BufferedReader(_Filtered(file, make_blocks), BLOCK)


class _Filtered(io.RawIOBase):
    def __init__(self, file: IO[bytes], make_blocks: Filter) -> None:
        self._file = file
        self._make_blocks = make_blocks
        self._blocks = make_blocks(file)
        self._block = memoryview(b"")
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._block:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._block = memoryview(block)
        size = min(len(buffer), len(self._block))
        buffer[:size] = self._block[:size]
        self._block = self._block[size:]
        self._at += size
        return size

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_CUR:
            offset += self._at
        elif whence != io.SEEK_SET:
            raise io.UnsupportedOperation("the end of the file is not known")
        # Nothing but reading tells where a byte of the other file went.
        if offset < self._at:
            self._file.seek(0)
            self._blocks, self._block, self._at = self._make_blocks(self._file), memoryview(b""), 0
        skipped = bytearray(BLOCK)
        while self._at < offset:
            if not self.readinto(memoryview(skipped)[: offset - self._at]):
                break
        return self._at

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

"""Opening of text files: by their first bytes unpacked, and read as UTF-8."""

import bz2
import codecs
import functools
import gzip
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from mtljax.data.files.readers.filtered import BLOCK, filtered

# By their first bytes, how files are unpacked.
_PACKED: tuple[tuple[bytes, Callable[[IO[bytes]], Any]], ...] = (
    (b"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file, mode="rb")),
    (b"\xfd7zXZ", lzma.LZMAFile),
    (b"BZh", bz2.BZ2File),
    (b"\x28\xb5\x2f\xfd", lambda file: _zstd_file(file)),
)
# What is no text, and how a message names it.
_NO_TEXT = (
    (b"PK\x03\x04", "a zip archive or a workbook"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x04\x22\x4d\x18", "packed with lz4"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
)
# Byte order marks; that of UTF-16 is the beginning of one of UTF-32.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_TAR = slice(257, 262)


def open_file(path: Path) -> IO[bytes]:
    """Opens a text file for reading.

    Its content says what it is, not its name: packed by gzip, xz, bzip2 or zstd, in UTF-16 or
    UTF-32 by its byte order mark, else UTF-8.

    Args:
        path: path of the file, which may be a pipe.

    Returns:
        The file, unpacked and in UTF-8, where an unpaired surrogate is not valid either.

    Raises:
        ValueError: if it is known to be no text, or cannot be unpacked here.
    """
    file: IO[bytes] = path.open("rb")
    try:
        return decoded(file)
    except BaseException:
        file.close()
        raise


def decoded(file: Any) -> IO[bytes]:
    """A file as `open_file` returns it.

    Args:
        file: open for reading bytes, with `peek`; closed with the returned file.

    Raises:
        ValueError: if it is known to be no text, or cannot be unpacked here.
    """
    begin = file.peek(512)
    for signature, unpacked in _PACKED:
        if begin.startswith(signature):
            file = filtered(file, functools.partial(_unpack, unpacked))
            begin = file.peek(512)
            break
    for signature, name in _NO_TEXT:
        if begin.startswith(signature):
            raise ValueError(f"{name}, not a text file: unpack or export it")
    if begin[_TAR] == b"ustar":
        raise ValueError("a tar archive, not a text file: unpack it")
    for mark, encoding in _MARKS:
        if begin.startswith(mark):
            return filtered(file, functools.partial(_decode, encoding))
    # Latin letters in UTF-16 are valid UTF-8, with a NUL next to each.
    pairs = begin[: len(begin) // 2 * 2]
    for high, low in ((pairs[::2], pairs[1::2]), (pairs[1::2], pairs[::2])):
        if len(pairs) >= 4 and not any(high) and all(low):
            raise ValueError("UTF-16 without a byte order mark: save it as UTF-8")
    return file


def _unpack(unpacked: Callable[[IO[bytes]], Any], file: IO[bytes]) -> Iterator[bytes]:
    with unpacked(file) as content:
        while True:
            try:
                block = content.read(BLOCK)
            except (OSError, EOFError, lzma.LZMAError):
                raise
            # The exception of zstd belongs to a package that need not be there.
            except Exception as error:
                if type(error).__name__ != "ZstdError":
                    raise
                raise OSError(str(error)) from error
            if not block:
                return
            yield block


def _zstd_file(file: IO[bytes]) -> Any:
    try:
        from compression import zstd  # pyright: ignore[reportMissingImports] - from Python 3.14 on
    except ImportError:
        try:
            from backports import zstd  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]
        except ImportError:
            raise ValueError(
                'packed with zstd: pip install "mtljax[zstd]" (backports.zstd), or unpack it'
            ) from None
    return zstd.ZstdFile(file)


def _decode(encoding: str, file: IO[bytes]) -> Iterator[bytes]:
    # Unpaired surrogates pass, and are damage to whoever decodes UTF-8.
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    while True:
        block = file.read(BLOCK)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError:
            raise OSError(f"cut short or damaged: not {encoding.upper()} text") from None
        yield text.encode("utf-8", "surrogatepass")
        if not block:
            return

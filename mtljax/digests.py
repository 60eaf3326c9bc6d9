"""Digests of files, kept in a file next to them: what has changed since it was written is refused.

They are of files and not of arrays, so that whatever decides what is read is covered, and no
sharding matters: a checkpoint is checked by any number of processes, on any mesh.
"""

import contextlib
import hashlib
import json
import mmap
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

NAME = "digests.json"
"""The file of a directory that holds the digests of others."""

Digests = dict[str, list[str]]
"""By the path of a file in its directory, the digests it may have: several while it is replaced."""

_LENGTH = 16  # bytes of a digest
_BUFFER = 1 << 23
_ROW = 1021 * 8
_LARGE = 1 << 16  # bytes from which on a part is summed
_THREADS = 2
_FEW = 4  # parts, of fewer of which one thread is as fast


def content_digest(content: "bytes | mmap.mmap") -> str:
    """The size of a content and a hash of it.

    Of large parts, laid out as rows of 1021 words of 64 bits, the sums of the columns enter the
    hash, which takes a tenth of the time: BLAKE2b of all bytes would double the time of saving a
    checkpoint, and even CRC-32 would add 6 %. What changes within 8168 bytes is found for sure, and
    what changes elsewhere unless it keeps the sums. Columns are a prime number, so that pages and
    sectors that change places are in other ones.

    >>> content_digest(b"")
    '0:cae66941d9efbd404e4d88758ea67670'
    """
    hashed = hashlib.blake2b(digest_size=_LENGTH)
    with memoryview(content) as whole:
        parts = [whole[start : start + _BUFFER] for start in range(0, len(whole), _BUFFER)]
        if len(parts) < _FEW:
            hashed.update(b"".join(map(_summary, parts)))
        else:
            # The sums leave Python's lock, and one thread does not use all of the memory's speed.
            with ThreadPoolExecutor(_THREADS) as pool:
                for summary in pool.map(_summary, parts):
                    hashed.update(summary)
        del parts
    return f"{len(content)}:{hashed.hexdigest()}"


def file_digest(path: Path) -> str:
    """The `content_digest` of a file.

    Args:
      path: of the file.

    Raises:
      OSError: if it cannot be read.
    """
    hashed, size = hashlib.blake2b(digest_size=_LENGTH), 0
    buffer = memoryview(bytearray(_BUFFER))
    with path.open("rb", buffering=0) as file:
        # Full but for the last one, so that where a part begins depends on the content alone.
        while count := _fill(file.readinto, buffer):
            hashed.update(_summary(buffer[:count]))
            size += count
    return f"{size}:{hashed.hexdigest()}"


def written_digest(path: str | Path) -> str:
    """The `file_digest` of a file that was just written, in half the time: it is in memory yet.

    Args:
      path: of the file.

    Raises:
      OSError: if it cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size < _LARGE:
            return content_digest(file.read())
        with contextlib.suppress(OSError, ValueError):  # where files cannot be mapped
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return content_digest(content)
    return file_digest(Path(path))


def _fill(readinto: Callable[[memoryview], int | None], buffer: memoryview) -> int:
    count = 0
    while count < len(buffer) and (more := readinto(buffer[count:])):
        count += more
    return count


def _summary(part: memoryview) -> bytes:
    """What of a part enters the hash: sums of its columns, and what is left of it."""
    summed = len(part) // _ROW * _ROW if len(part) >= _LARGE else 0
    sums = b""
    if summed:
        words = np.frombuffer(part[:summed], "<u8").reshape(-1, _ROW // 8)
        sums = np.add.reduce(words, axis=0).astype("<u8").tobytes()
    return sums + bytes(part[summed:])


def dump_digests(digests: Mapping[str, Iterable[str]]) -> str:
    """The content of `NAME`, with a digest of its own.

    Args:
      digests: by the path of each file in the directory, those it may have.
    """
    files = {name: list(digests[name]) for name in sorted(digests)}
    own = content_digest(json.dumps(files).encode())
    return json.dumps({"files": files, "digest": own})


def joined_digests(before: bytes, after: bytes) -> bytes:
    """A content of `NAME` that allows each file the digests of two others.

    Args:
      before: a content, of files that are replaced.
      after: another, of those that replace them.

    Returns:
      The content; `after` where one of the two cannot be read.
    """
    try:
        first, second = (json.loads(content)["files"] for content in (before, after))
        names = {*first, *second}
        joined = {n: dict.fromkeys([*first.get(n, ()), *second.get(n, ())]) for n in names}
        return dump_digests(joined).encode()
    except (ValueError, KeyError, TypeError, AttributeError):
        return after


def read_digests(directory: Path) -> Digests | None:
    """Read the digests of files of a directory, None where none are kept.

    Args:
      directory: that holds the files.

    Raises:
      ValueError: if the digests themselves have changed since they were written.
      OSError: if they cannot be read.
    """
    try:
        text = (directory / NAME).read_bytes()
    except FileNotFoundError:
        return None
    try:
        content = json.loads(text)
        files, own = content["files"], content["digest"]
    except (ValueError, KeyError, TypeError, RecursionError):
        files, own = None, ""
    if files is None or own != content_digest(json.dumps(files).encode()):
        raise ValueError("the digests are damaged")
    return files


def check_files(directory: Path, digests: Digests, names: Iterable[str]) -> None:
    """Check that files are as they were written.

    Args:
      directory: that holds the files.
      digests: of the directory.
      names: of the files, some of those in `digests`.

    Raises:
      ValueError: naming the first that is missing or has changed.
    """
    for name in names:
        try:
            found = file_digest(directory / name)
        except FileNotFoundError:
            raise ValueError(f"{name} is missing") from None
        except OSError as error:
            raise ValueError(f"{name}: {error.strerror or error}") from None
        if found not in digests[name]:
            size = found.partition(":")[0]
            expected = digests[name][-1].partition(":")[0]
            what = "is not as it was written"
            if size != expected:
                what = f"has {size} bytes, {expected} were written"
            raise ValueError(f"{name} {what}")

"""Copies on this machine of directories of another scheme, such as ``gs://bucket/run``.

A store of objects has no locks, no names that change and no files that grow. What works with
directories therefore works with a copy here: `copied` brings one that is only read up to date,
`worked_on` one that is written, and copies there what changes, while it is worked on.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple

from mtljax.errors import UserError, reason_of
from mtljax.file_lock import try_lock
from mtljax.local_paths import cache_home, scheme
from mtljax.remote_paths import remote_path

_POLL = 0.5  # seconds between two looks at what has changed
_LONGEST = 60.0  # seconds that files which grow are not copied
_SMALL = 1 << 20  # bytes of files that are always read anew: a store tells times by the second
_PART = 1 << 24  # bytes that are copied at a time
_UNFINISHED = re.compile(
    r"(^|/)\.(lock|writable|digests\.\d+|[^/]*\.(tmp|part|copying|unfinished))($|/)"
    r"|\.orbax-checkpoint-tmp($|/)"
)
"""What is written yet, and locks: neither is copied."""

Order = Callable[[str], Any]
"""By a path in a directory, a key by which files are copied there one after the other."""

Joint = Mapping[str, Callable[[bytes, bytes], bytes]]
"""By the path of a file that says what others are: of what it was and what it is, a content that is
true of both, which it has while those are replaced."""

Complete = Callable[[frozenset[str]], frozenset[str]]
"""Of the paths in a directory there, those of parts that were copied as a whole."""


class _Known(NamedTuple):
    """A file that is the same here and there, as both looked then: bytes, and times."""

    there: tuple[int, int]
    here: tuple[int, int]


class _Pair(NamedTuple):
    """A directory there, its copy here, and the files that are known to be the same."""

    there: Any
    here: Path
    known: dict[str, _Known]
    order: Order = str
    joint: Joint = MappingProxyType({})


def copied(
    what: str,
    path: str | os.PathLike[str],
    complete: Complete = frozenset,
    *,
    use: str = "read",
    must_be: bool = True,
) -> Path:
    """A directory to read, or a file: itself, or of another scheme a copy that is up to date.

    Args:
      what: the path is, for messages.
      path: as it was given.
      complete: the files that are copied, of all that are there.
      use: what for; copies of different files of one directory have different ones.
      must_be: whether it is an error that nothing is there.

    Returns:
      A path of this machine.

    Raises:
      UserError: for a scheme that is not known or lacks its package, where nothing is there, and if
        it cannot be copied.
    """
    if not scheme(path):
        return Path(path)
    with _reported(what, path):
        there, here = _places(what, path, use)
        with _held(here, wait=True):
            pair = _Pair(there, here, _read_known(here))
            if there.is_dir():
                _copy_here(pair, complete)
            elif there.exists():
                _bring(pair, "", _looked(there))
                _write_known(pair)
            elif must_be:
                raise UserError(f"{what} {os.fspath(path)}: no such file or directory")
            elif here.exists():
                shutil.rmtree(here)
        return here


@contextlib.contextmanager
def worked_on(
    what: str,
    path: str | os.PathLike[str],
    order: Order = str,
    complete: Complete = frozenset,
    joint: Joint = MappingProxyType({}),
    warn: Callable[[str], None] = warnings.warn,
    *,
    must_be: bool = False,
) -> Iterator[Path]:
    """A directory to write: itself, or of another scheme a copy here, which is copied there.

    What is there counts: files of the copy that are not there, or not as there, are those of a
    process that ended before they were copied, and go. While the block runs a thread copies what
    has changed, when a directory is made or removed and at least every minute; what it cannot, it
    tries again. The rest is copied when the block ends, however it does.

    Args:
      what: the path is, for messages.
      path: as it was given; made if need be.
      order: in which files are copied there. A process may end after any.
      complete: the files that are whole, of all that are there.
      joint: of files that say what others are, a content while those are replaced.
      warn: is called with one line, by the thread, the first time that it cannot copy.
      must_be: whether it is an error that nothing is there.

    Yields:
      A path of this machine.

    Raises:
      UserError: for a scheme that is not known or lacks its package; if another process here works
        on that directory; and if it cannot be copied, or at the end cannot be copied there.
    """
    if not scheme(path):
        yield Path(path)
        return
    with contextlib.ExitStack() as stack:
        with _reported(what, path):
            there, here = _places(what, path, "written")
            if must_be and not there.exists():
                raise UserError(f"{what} {os.fspath(path)}: no such file or directory")
            held = stack.enter_context(_held(here, wait=False))
            if not held:
                raise UserError(f"{what} {os.fspath(path)}: another process here works on it")
            pair = _Pair(there, here, _read_known(here), order, joint)
            here.mkdir(parents=True, exist_ok=True)
            cut = _copy_here(pair, complete)
            # Parts of a checkpoint: with those of another attempt they would look whole.
            _remove_there(pair, cut)
            there.mkdir(parents=True, exist_ok=True)
        ended = threading.Event()
        arguments = (pair, _directories(here), ended, warn)
        thread = threading.Thread(target=_copy_changes, args=arguments, daemon=True)
        thread.start()
        try:
            yield here
        finally:
            ended.set()
            thread.join()
            try:
                _copy_there(pair)
            except Exception as error:
                raise UserError(
                    f"{what} {os.fspath(path)}: cannot be written ({reason_of(error)}); all of it "
                    f"is in {here}"
                ) from error


def _places(what: str, path: str | os.PathLike[str], use: str) -> tuple[Any, Path]:
    """The path there, and that of its copy, which others than its readers and writer leave."""
    text = os.fspath(path).rstrip("/")
    there = remote_path(what, text)
    digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    return there, cache_home() / "copies" / use / digest / (text.rsplit("/", 1)[-1] or "root")


@contextlib.contextmanager
def _reported(what: str, path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what} {os.fspath(path)}: {reason_of(error)}") from error


@contextlib.contextmanager
def _held(here: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of a copy: whether it is held, where it is not waited for."""
    here.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(here.parent / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        while (held := try_lock(file)) is False and wait:
            time.sleep(_POLL)
        yield held is not False
    finally:
        os.close(file)


def _copy_here(pair: _Pair, complete: Complete) -> frozenset[str]:
    """Make the copy what is there; gives the files there that are no whole part."""
    found = _files_there(pair.there)
    wanted = complete(frozenset(name for name in found if not _UNFINISHED.search(name)))
    for name in sorted(wanted):
        _bring(pair, name, found[name])
    for name in set(_files_here(pair.here)) - wanted:
        (pair.here / name).unlink()
    for name in set(pair.known) - wanted:
        del pair.known[name]
    _remove_empty(pair.here)
    _write_known(pair)
    return frozenset(found) - wanted


def _copy_there(pair: _Pair) -> None:
    found = _files_here(pair.here)
    same = {name for name, known in pair.known.items() if known.here == found.get(name)}
    changed = found.keys() - same
    # What stands at the top says what the whole is, such as that a run has ended: it goes first.
    # Of the rest what is new is there before what is old goes.
    gone = sorted(set(pair.known) - set(found), key=pair.order, reverse=True)
    _remove_there(pair, [name for name in gone if "/" not in name])
    for name in set(pair.joint).intersection(changed):
        there = pair.there / name
        if there.exists():
            both = pair.joint[name](there.read_bytes(), (pair.here / name).read_bytes())
            _copy_file_there(io.BytesIO(both), len(both), there)
    for name in sorted(changed, key=pair.order):
        try:
            file = (pair.here / name).open("rb")
        except FileNotFoundError:  # an old checkpoint, removed meanwhile
            continue
        with file:
            _copy_file_there(file, found[name][0], pair.there / name)
        pair.known[name] = _Known(_looked(pair.there / name), found[name])
    _remove_there(pair, [name for name in gone if "/" in name])
    _write_known(pair)


def _remove_there(pair: _Pair, names: Iterable[str]) -> None:
    emptied: set[str] = set()
    for name in names:
        (pair.there / name).unlink(missing_ok=True)
        pair.known.pop(name, None)
        parts = name.split("/")[:-1]
        emptied |= {"/".join(parts[: count + 1]) for count in range(len(parts))}
    for directory in sorted(emptied, reverse=True):
        with contextlib.suppress(OSError, ValueError):  # it holds something, or is a mere prefix
            (pair.there / directory).rmdir()


def _copy_changes(
    pair: _Pair, before: frozenset[str], ended: threading.Event, warn: Callable[[str], None]
) -> None:
    """Copies until all has ended, when there is another checkpoint and from time to time."""
    last, told = time.monotonic(), False
    while not ended.wait(_POLL):
        now = _directories(pair.here)
        if now == before and time.monotonic() - last < _LONGEST:
            continue
        before, last = now, time.monotonic()
        try:
            _copy_there(pair)
        except Exception as error:  # noqa: BLE001 - the run goes on, and the end tries again
            if not told:
                warn(f"{pair.there}: {reason_of(error)}; tried again")
            before, told = frozenset(), True


def _directories(here: Path) -> frozenset[str]:
    found = (os.path.relpath(directory, here) for directory, _, _ in os.walk(here))
    return frozenset(name for name in found if not _UNFINISHED.search(name))


def _files_here(here: Path) -> dict[str, tuple[int, int]]:
    """Bytes and time of each file, by its path; without what is not finished."""
    found = {}
    for directory, _, names in os.walk(here):
        for name in names:
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, here).replace(os.sep, "/")
            if _UNFINISHED.search(relative):
                continue
            if (looked := _look(Path(path))) is not None:
                found[relative] = looked
    return found


def _files_there(there: Any) -> dict[str, tuple[int, int]]:
    found, left = {}, [("", there)]
    while left:
        prefix, directory = left.pop()
        for path in directory.iterdir() if directory.exists() else ():
            name = f"{prefix}{path.name}"
            if path.is_dir():
                left.append((f"{name}/", path))
            else:
                found[name] = _looked(path)
    return found


def _look(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


def _looked(path: Any) -> tuple[int, int]:
    status = path.stat()
    return int(status.length), int(status.mtime or 0)


def _bring(pair: _Pair, name: str, found: tuple[int, int]) -> None:
    """Copy a file here, unless it is known to be the same.

    Args:
      pair: of directories, or of the file itself.
      name: its path in them; empty where they are the file.
      found: as it looks there.
    """
    there, here = (pair.there / name, pair.here / name) if name else (pair.there, pair.here)
    if found[0] >= _SMALL and pair.known.get(name) == (found, _look(here)):
        return
    _copy_file_here(there, here)
    if (looked := _look(here)) is not None:
        pair.known[name] = _Known(found, looked)


def _copy_file_here(there: Any, here: Path) -> None:
    """Copy a file, which appears when it is whole."""
    here.parent.mkdir(parents=True, exist_ok=True)
    temporary = here.with_name(f".{here.name}.copying")
    with there.open("rb") as read, temporary.open("wb") as written:
        shutil.copyfileobj(read, written, _PART)
    temporary.replace(here)


def _copy_file_there(file: BinaryIO, size: int, there: Any) -> None:
    """Copy a file; one of few bytes appears when it is whole, as all do in a store of objects."""
    there.parent.mkdir(parents=True, exist_ok=True)
    place = there if size >= _SMALL else there.with_name(f".{there.name}.copying")
    with place.open("wb") as written:
        shutil.copyfileobj(file, written, _PART)
    if place != there:
        place.replace(there)


def _remove_empty(here: Path) -> None:
    for directory, _, _ in os.walk(here, topdown=False):
        if directory != str(here):
            with contextlib.suppress(OSError):  # it holds something
                os.rmdir(directory)


def _known_path(here: Path) -> Path:
    return here.parent / "known.json"


def _read_known(here: Path) -> dict[str, _Known]:
    try:
        content: Mapping[str, Any] = json.loads(_known_path(here).read_bytes())
        return {
            name: _Known((int(a), int(b)), (int(c), int(d)))
            for name, ((a, b), (c, d)) in content.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # everything is read anew


def _write_known(pair: _Pair) -> None:
    path = _known_path(pair.here)
    temporary = path.with_name(".known.json")
    temporary.write_text(json.dumps(pair.known))
    temporary.replace(path)

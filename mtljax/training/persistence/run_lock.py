"""The lock by which one process at a time writes a file or a run; it dies with that process."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from mtljax.errors import UserError
from mtljax.file_lock import try_lock

LOCK = ".lock"
"""The file of a run directory that is locked; it says who has locked it last, and stays."""

_LONGEST = 200  # bytes of the file that a message quotes


@contextlib.contextmanager
def locked(directory: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a run directory; the system takes it away when this process ends.

    Where files cannot be locked it is not held, and where they cannot be written it is not needed.

    Args:
      directory: of the run, which exists.
      say: is called with one line where the file system has no locks.

    Raises:
      UserError: if another process, or another thread of this one, holds the lock.
    """
    try:
        file = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        yield
        return
    try:
        _lock(file, directory, say)
        yield
    finally:
        os.close(file)


def _lock(file: int, directory: Path, say: Callable[[str], None]) -> None:
    try:
        held = try_lock(file)
    except OSError as error:
        raise UserError(f"run directory {directory}: {error.strerror or error}") from None
    if held is None:
        say(
            f"warning: run directory {directory}: there are no locks (flock) there, so that a "
            "second process that writes there would not be noticed"
        )
        return
    if not held:
        holder = os.pread(file, _LONGEST, 0).decode("utf-8", "replace").strip()
        raise UserError(
            f"run directory {directory}: {holder or 'another process'} is writing there; wait for "
            "its end, or choose another --run-dir"
        )
    with contextlib.suppress(OSError):  # a full disk: the lock is held all the same
        os.ftruncate(file, 0)
        os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

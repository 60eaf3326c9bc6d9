"""Paths on file systems of this machine: which they are, and whether they can be written."""

import errno
import os
import re
import tempfile
from pathlib import Path

from mtljax.errors import UserError

CACHE_DIR = "MTLJAX_CACHE_DIR"
"""The environment variable that names the directory of caches."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def scheme(path: str | os.PathLike[str]) -> str:
    """The scheme of a path; empty for one of this machine.

    >>> scheme("gs://bucket/run"), scheme("runs/a")
    ('gs', '')
    """
    match = _SCHEME.match(os.fspath(path))
    return match[1] if match else ""


def cache_home() -> Path:
    """The directory of this user's caches: of MTLJAX_CACHE_DIR, else ~/.cache/mtljax."""
    chosen = os.environ.get(CACHE_DIR, "off")
    if chosen != "off" and not scheme(chosen):
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "mtljax"


def check_local(what: str, path: str | os.PathLike[str] | None) -> None:
    """Check that a path has no scheme.

    Args:
      what: the path is, for the message.
      path: as it was given, before it became a `Path`, which would take ``gs://x`` for a directory.

    Raises:
      UserError: if it has one.
    """
    if path is not None and (found := scheme(path)):
        raise UserError(
            f"{what} {os.fspath(path)}: paths of scheme {found}:// cannot be used here, since they "
            "have no locks and no files that grow; mount it, and give that directory"
        )


def check_place(what: str, path: str | os.PathLike[str], *, directory: bool = False) -> None:
    """Check that a file or directory can be made, before the work whose result it is to hold.

    Files are made in a directory that exists, or a pipe or device takes them as it is; directories
    are made with those above them. Nothing is left behind.

    Args:
      what: the path is, for the message.
      path: of the file or directory.
      directory: whether it is one; a directory that is there must take new files.

    Raises:
      UserError: if it cannot be made or written.

    >>> check_place("plot", "/dev/null/plot.png")
    Traceback (most recent call last):
    mtljax.errors.UserError: plot /dev/null/plot.png: Not a directory
    """
    try:
        where = os.path.abspath(path)
        if directory:
            _probe(_nearest(where))
        elif os.path.isdir(where):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        elif os.path.exists(where) and not os.path.isfile(where):
            if not os.access(where, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        else:
            _is_there(where)  # of names that no file can have
            _probe(os.path.dirname(where))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise UserError(f"{what} {os.fspath(path)}: {reason or error}") from None


def _nearest(where: str) -> str:
    """The path itself if something is there, else the nearest above where something is."""
    while not _is_there(where):
        where = os.path.dirname(where)
    return where


def _is_there(where: str) -> bool:
    try:
        os.lstat(where)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _probe(folder: str) -> None:
    # Permissions alone do not say it: file systems may be full, read-only or of the kernel.
    with tempfile.TemporaryFile(dir=folder):
        pass

"""Paths that must be on a file system of this machine."""

import os
import re
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

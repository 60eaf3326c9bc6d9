"""Paths that must be on a file system of this machine."""

import os
import re

from mtljax.errors import UserError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def scheme(path: str | os.PathLike[str]) -> str:
    """The scheme of a path; empty for one of this machine.

    >>> scheme("gs://bucket/run"), scheme("runs/a")
    ('gs', '')
    """
    match = _SCHEME.match(os.fspath(path))
    return match[1] if match else ""


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

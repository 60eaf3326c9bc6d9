"""Paths of another scheme, such as ``gs://bucket/run``, as `etils.epath` opens them."""

import os
from typing import Any

from mtljax.errors import UserError, reason_of
from mtljax.local_paths import scheme


def remote_path(what: str, path: str | os.PathLike[str]) -> Any:
    """Open a path of another scheme.

    Args:
      what: the path is, for messages.
      path: as it was given, with its scheme.

    Returns:
      An `etils.epath.Path`, whose store has answered.

    Raises:
      UserError: for a scheme that is not known, or lacks its package.
      Exception: whatever the client of a store raises that does not answer.
    """
    from etils import epath

    text = os.fspath(path)
    where = f"{what} {text}: "
    try:
        found = epath.Path(text)
    except KeyError:
        raise UserError(f"{where}the scheme {scheme(text)}:// is unknown") from None
    try:
        found.exists()
    except (ImportError, NotImplementedError) as error:  # epath raises either, by scheme
        reason = reason_of(error)
        raise UserError(f"{where}scheme {scheme(text)}:// needs a package ({reason})") from None
    return found

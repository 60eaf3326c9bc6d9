"""Paths that Orbax may search: the names of their directories are never patterns."""

import glob
from collections.abc import Iterator
from typing import Self

from etils.epath.gpath import PosixGPath


class LiteralPath(PosixGPath):
    """A local path whose own name is taken letter by letter, whatever is searched below it.

    `epath` joins a path with the pattern that is searched below it and takes all of that for the
    pattern, so that nothing is found below a directory called ``[x]``; and it takes a directory
    such as ``/gs`` for a bucket.
    """

    @property
    def _uri_scheme(self) -> None:
        return None

    def glob(self, pattern: str) -> Iterator[Self]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The paths below this one that match a pattern, sorted."""
        for name in sorted(glob.glob(pattern, root_dir=str(self))):
            yield self / name

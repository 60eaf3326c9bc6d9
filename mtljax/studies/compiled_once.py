"""Programs of a study that are compiled once, whatever the number of its runs."""

import contextlib
import tempfile
from collections.abc import Iterator

from mtljax.parallel.kept_programs import keeps_programs, kept_programs


@contextlib.contextmanager
def compiled_once() -> Iterator[None]:
    """While it lasts, a program that was compiled before is not compiled again.

    Runs of several seeds, and their evaluations, are the same programs. They are kept in a
    directory of their own, which goes at the end: what is compiled for this processor is of no use
    to another. Where the process keeps its programs anyway, it is left to do so.
    """
    if keeps_programs():
        yield
        return
    with (
        tempfile.TemporaryDirectory(prefix="mtljax-") as directory,
        kept_programs(directory, seconds=0.1),
    ):
        yield

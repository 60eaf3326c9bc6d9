"""``--compile-cache DIR``: compiled programs that the next start of a command finds again."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Annotated

import tyro

from mtljax.cli.options import warn

CompileCache = Annotated[str | None, tyro.conf.arg(metavar="DIR")]
"""The type of the option."""


@contextlib.contextmanager
def compile_cache(directory: str | None) -> Iterator[None]:
    """Keep compiled programs in a directory while a command runs.

    Where it cannot be written the command goes on without it, after a warning.

    Args:
      directory: of the option, made if need be; None leaves it to the environment's
        JAX_COMPILATION_CACHE_DIR.
    """
    if directory is None:
        yield
        return
    if problem := _problem(directory):
        warn(f"--compile-cache {directory}: {problem}; nothing that is compiled is kept")
        yield
        return
    from mtljax.parallel.kept_programs import kept_programs

    with kept_programs(os.path.abspath(directory)):
        yield


def _problem(directory: str) -> str:
    """Why a directory cannot be made or written; empty if it can."""
    try:
        os.makedirs(directory, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return ""
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:  # a name that no file can have
        return str(error)

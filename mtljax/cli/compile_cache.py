"""``--compile-cache DIR``: compiled programs that the next start of a command finds again."""

import contextlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from typing import Annotated

import tyro

from mtljax.cli.options import warn
from mtljax.errors import UserError, reason_of
from mtljax.local_paths import scheme
from mtljax.remote_paths import remote_path

CompileCache = Annotated[str | None, tyro.conf.arg(metavar="DIR")]
"""The type of the option."""


@contextlib.contextmanager
def compile_cache(directory: str | None) -> Iterator[None]:
    """Keep compiled programs in a directory while a command runs.

    Where it cannot be written the command goes on without it, after a warning.

    Args:
      directory: of the option, made if need be; on this machine, or any that `etils.epath` takes,
        such as ``gs://bucket/programs``; None leaves it to the environment's
        JAX_COMPILATION_CACHE_DIR.

    Raises:
      UserError: for a scheme that is unknown, or one whose package is missing.
    """
    if directory is None:
        yield
        return
    remote = scheme(directory)
    problem = _remote(directory) if remote else _problem(directory)
    if problem:
        warn(f"--compile-cache {directory}: {problem}; nothing that is compiled is kept")
        yield
        return
    from mtljax.parallel.kept_programs import kept_programs

    with kept_programs(directory if remote else os.path.abspath(directory)):
        yield


def _remote(directory: str) -> str:
    """Why a directory of another scheme cannot be made or written; empty if it can."""
    probe = f".writable-{uuid.uuid4().hex}"
    try:
        path = remote_path("--compile-cache", directory)
        path.mkdir(parents=True, exist_ok=True)
        (path / probe).write_text("")
        (path / probe).unlink()
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a client of some store raises
        return reason_of(error)
    return ""


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

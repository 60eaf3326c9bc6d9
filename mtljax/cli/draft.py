"""The draft of an output file, which one process at a time writes."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from mtljax.errors import UserError


def draft_of(path: str) -> Path:
    """Path of the draft that has the lines of an output until it is complete."""
    target = Path(path)
    return target.with_name(f".{target.name}.part")


@contextlib.contextmanager
def locked_draft(path: str) -> Iterator[Path]:
    """Hold the lock of the draft of an output, until it ends or this process does.

    Args:
      path: of the output, as `--output` names it.

    Yields:
      The path of the draft, which is made if there is none.

    Raises:
      UserError: if another process writes it, or it cannot be written.
    """
    from mtljax.file_lock import try_lock

    draft = draft_of(path)
    try:
        while True:
            file = os.open(draft, os.O_RDWR | os.O_CREAT, 0o666)
            if try_lock(file) is False:
                os.close(file)
                raise UserError(f"--output {path}: another process is writing it; wait for its end")
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), draft.stat()):
                    break
            os.close(file)  # of one that has got the name of the output meanwhile
    except OSError as error:
        raise UserError(f"--output {path}: {error.strerror or error}") from None
    try:
        yield draft
    finally:
        os.close(file)

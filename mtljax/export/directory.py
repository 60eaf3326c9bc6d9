"""Directories that are there complete, or not at all."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from mtljax.errors import UserError


@contextlib.contextmanager
def new_directory(directory: str | Path) -> Iterator[Path]:
    """A directory under another name, which gets its own when the block ends.

    Args:
      directory: to be made; it may exist if it is empty.

    Yields:
      The directory to write in.

    Raises:
      UserError: if it holds something, or cannot be written.
    """
    target = Path(directory)
    draft = target.with_name(f".{target.name}.unfinished")
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UserError(f"export {target}: is there already; choose another directory")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        yield draft
        if target.exists():
            target.rmdir()
        draft.rename(target)
    except OSError as error:
        raise UserError(f"export {target}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)

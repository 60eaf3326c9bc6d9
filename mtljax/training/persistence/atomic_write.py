"""Files that are replaced as a whole: a reader finds the old content or the new, never a part."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; what is written there replaces it at the end.

    After an error ``path`` is as it was.

    Raises:
      OSError: if the file cannot be replaced.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    yield temporary
    temporary.replace(path)


def replace_text(path: Path, text: str) -> None:
    """Replace the content of a file, made if need be; it is on disk when this returns.

    Args:
      path: of the file, in a directory that exists.
      text: the new content, written as UTF-8.

    Raises:
      OSError: if the file cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())

"""Output files of JSON lines that an interrupted command resumes."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from mtljax.cli.draft import locked_draft
from mtljax.errors import UserError


class Lines(NamedTuple):
    """An output that may have been begun by an interrupted command.

    Attributes:
      done: the complete lines that it wrote, as JSON values.
      file: the file for the lines that follow.
    """

    done: list[Any]
    file: TextIO


@contextlib.contextmanager
def resumed(path: str, settings: Mapping[str, Any], every: int = 1) -> Iterator[Lines]:
    """Open a file of JSON lines that appears when it is complete.

    Until then they are in a draft next to it. What an interrupted command left there is resumed
    after its last complete line. A pipe or device is written to as it is.

    Args:
      path: path of the file; an existing one is replaced.
      settings: what decides the lines, as JSON: a draft of other settings is not resumed.
      every: number of lines in a group; a draft is resumed after its last complete group.

    Yields:
      The `Lines` so far, and the file for the others.

    Raises:
      UserError: if the file cannot be written, another process writes it, or a draft of other
        settings is there.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        with _opened(target, path) as file:
            yield Lines([], file)
        return
    notes = target.with_name(f".{target.name}.settings")
    with locked_draft(path) as draft:
        try:
            done = _resumed_lines(draft, notes, path, json.loads(json.dumps(settings)), every)
            with _opened(draft, path, "a") as file:
                yield Lines(done, file)
        except BaseException:
            if draft.is_file() and not draft.stat().st_size:
                _remove(draft, notes)
            raise
        draft.replace(target)
        notes.unlink(missing_ok=True)


def _resumed_lines(draft: Path, notes: Path, path: str, settings: Any, every: int) -> list[Any]:
    """The lines of a draft of these settings; without one, none, and notes of the settings."""
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(notes.read_text(encoding="utf-8"))
        if draft.stat().st_size and before != settings:
            other = sorted(
                name for name in {*before, *settings} if before.get(name) != settings.get(name)
            )
            raise UserError(
                f"--output {path}: an unfinished one with another {', '.join(other)} is there; "
                f"resume that, or remove {draft}"
            )
        if before == settings:
            return _complete_lines(draft, every)
    # A draft without readable notes may be of any settings: it is not used.
    try:
        os.truncate(draft, 0)
        notes.write_text(json.dumps(settings), encoding="utf-8")
    except OSError as error:
        raise UserError(f"--output {path}: {error.strerror or error}") from None
    return []


def _complete_lines(draft: Path, every: int) -> list[Any]:
    """The complete groups of lines of a draft, which is truncated after them."""
    done: list[Any] = []
    ends = [0]
    with draft.open("rb") as file:
        for line in file:
            try:
                done.append(json.loads(line))
            except ValueError:
                break
            if not line.endswith(b"\n"):
                done.pop()
                break
            ends.append(ends[-1] + len(line))
    count = len(done) // every * every
    with draft.open("r+b") as file:
        file.truncate(ends[count])
    return done[:count]


def _opened(file: Path, path: str, mode: str = "w") -> TextIO:
    try:
        return file.open(mode, encoding="utf-8")  # pyright: ignore[reportReturnType]
    except OSError as error:
        raise UserError(f"--output {path}: {error.strerror or error}") from None


def _remove(*files: Path) -> None:
    for file in files:
        file.unlink(missing_ok=True)

"""An output file of lines that a command goes on with after it was cut off."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from mtljax.errors import UserError


class Lines(NamedTuple):
    """What there is of an output, and where the rest goes.

    Attributes:
      done: the whole lines that an earlier command wrote.
      file: for the lines that follow.
    """

    done: list[Any]
    file: TextIO


@contextlib.contextmanager
def resumed(path: str, settings: Mapping[str, Any], every: int = 1) -> Iterator[Lines]:
    """Open a file of JSON lines that appears when it is complete.

    Until then they are in a draft beside it. What an interrupted command left there is taken up
    after its last whole line. A pipe or device is written to as it is.

    Args:
      path: of the file; it is replaced if it is there.
      settings: what decides the lines, as JSON: a draft of others is not gone on with.
      every: lines are taken up in whole groups of so many.

    Raises:
      UserError: if the file cannot be written, or a draft of other settings is there.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        with _opened(target, path) as file:
            yield Lines([], file)
        return
    draft, notes = draft_of(path), target.with_name(f".{target.name}.settings")
    done = _taken_up(draft, notes, path, json.loads(json.dumps(settings)), every)
    try:
        with _opened(draft, path, "a") as file:
            yield Lines(done, file)
    except BaseException:
        if draft.is_file() and not draft.stat().st_size:
            _remove(draft, notes)
        raise
    draft.replace(target)
    notes.unlink(missing_ok=True)


def draft_of(path: str) -> Path:
    """Where the lines of an output are until it is complete."""
    target = Path(path)
    return target.with_name(f".{target.name}.part")


def _taken_up(draft: Path, notes: Path, path: str, settings: Any, every: int) -> list[Any]:
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(notes.read_text(encoding="utf-8"))
        if draft.is_file() and before != settings:
            other = sorted(
                name for name in {*before, *settings} if before.get(name) != settings.get(name)
            )
            raise UserError(
                f"--output {path}: an unfinished one with another {', '.join(other)} is there; go "
                f"on with that, or remove {draft}"
            )
        return _whole_lines(draft, every)
    # Without readable notes there is nothing that could be trusted.
    try:
        draft.unlink(missing_ok=True)
        notes.write_text(json.dumps(settings), encoding="utf-8")
    except OSError as error:
        raise UserError(f"--output {path}: {error.strerror or error}") from None
    return []


def _whole_lines(draft: Path, every: int) -> list[Any]:
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


def _opened(place: Path, path: str, mode: str = "w") -> TextIO:
    try:
        return place.open(mode, encoding="utf-8")  # pyright: ignore[reportReturnType]
    except OSError as error:
        raise UserError(f"--output {path}: {error.strerror or error}") from None


def _remove(*places: Path) -> None:
    for place in places:
        place.unlink(missing_ok=True)

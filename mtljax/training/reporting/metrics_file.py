"""`metrics.jsonl`, one JSON object a line."""

import contextlib
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mtljax.errors import UserError
from mtljax.json_values import nan_to_none
from mtljax.training.persistence.atomic_write import replace_text

NAME = "metrics.jsonl"
CHECKS = ".metrics.crc"
"""The CRC-32 of each line that was written to it: of a line that has changed none is there."""

_LINE_END = b"\n"


class MetricsFile:
    """Appends lines ``{"step": s, "split": split, name: value, ...}``, each flushed at once."""

    def __init__(
        self,
        directory: Path,
        last_step: int,
        *,
        writes: bool = True,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Open the file; lines after ``last_step``, of a run that was interrupted, are dropped.

        So are lines that are damaged.

        Args:
          directory: of the run.
          last_step: the step that the run continues from; -1 drops all lines.
          writes: False where another process writes: nothing is opened, nothing written.
          warn: is called with one line where lines are damaged.

        Raises:
          UserError: if the file cannot be written.
        """
        self._path = directory / NAME
        self._file = self._checks = None
        if not writes:
            return
        with self._written():
            lines, damaged = _read(directory)
            if damaged and last_step >= 0:
                warn(f"{self._path}: damaged or missing lines are left out: {damaged}")
            kept = [_line(line) for line in lines if line["step"] <= last_step]
            replace_text(directory / CHECKS, "".join(map(_check, kept)))
            replace_text(self._path, "".join(kept))
        with self._written():
            self._checks = (directory / CHECKS).open("a", encoding="ascii")
            self._file = self._path.open("a", encoding="utf-8")

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{self._path}: {error.strerror or error}") from None

    def write(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """Append one line.

        Args:
          step: steps done.
          split: 'train' or 'validation'.
          values: by name; NaN and infinity become null.

        Raises:
          UserError: if it cannot be written.
        """
        if self._file is None or self._checks is None:
            return
        line = _line({"step": step, "split": split, **values})
        with self._written():
            # First, so that no line is there without it, wherever the process is killed.
            for file, text in ((self._checks, _check(line)), (self._file, line)):
                file.write(text)
                file.flush()

    def close(self) -> None:
        """Write everything to disk, and close.

        Raises:
          UserError: if it cannot be written.
        """
        if self._file is None or self._checks is None:
            return
        with self._written():
            for file in (self._checks, self._file):
                file.flush()
                os.fsync(file.fileno())
                file.close()


def read_metrics(directory: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the metrics of a run so far.

    Args:
      directory: of the run.

    Returns:
      One dict for each line of `metrics.jsonl`, in order, without those that are damaged. Empty if
      there is no file.
    """
    return _read(Path(directory))[0]


def _read(directory: Path) -> tuple[list[dict[str, Any]], int]:
    """The lines that are as they were written, and how many are not or are missing.

    A last line that is torn or missing does not count: a run that is killed leaves one.
    """
    path = directory / NAME
    # Bytes, since a line may be torn within a character. The checks, which are written before the
    # lines, are read after them.
    *texts, last = path.read_bytes().split(_LINE_END) if path.exists() else [b""]
    checks = None
    with contextlib.suppress(FileNotFoundError):  # of an older version
        checks = (directory / CHECKS).read_bytes().split(_LINE_END)[:-1]
    lines, damaged, found = [], 0, set()
    for text in (*texts, last) if last else texts:
        check = _check(text).encode().rstrip(_LINE_END)
        line = _parsed(text) if checks is None or check in checks else None
        if line is not None:
            lines.append(line)
            found.add(check)
        else:
            damaged += text is not last
    missing = [check for check in (checks or [])[:-1] if check not in found]
    return lines, max(damaged, len(missing))


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
        if not isinstance(line["step"], int) or line["split"] not in ("train", "validation"):
            return None
        values = [value for name, value in line.items() if name != "split"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return line if all(v is None or isinstance(v, int | float) for v in values) else None


def _check(line: str | bytes) -> str:
    content = line.encode() if isinstance(line, str) else line
    return f"{zlib.crc32(content.removesuffix(_LINE_END)):08x}\n"


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(nan_to_none(values), ensure_ascii=False) + "\n"

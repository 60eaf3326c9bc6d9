"""`metrics.jsonl`, one JSON object a line, with a copy for TensorBoard."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mtljax.errors import UserError
from mtljax.json_values import nan_to_none
from mtljax.training.persistence.atomic_write import replace_text

NAME = "metrics.jsonl"


class MetricsFile:
    """Appends lines ``{"step": s, "split": split, name: value, ...}``, each flushed at once."""

    def __init__(
        self,
        directory: Path,
        last_step: int,
        *,
        tensorboard: bool = False,
        writes: bool = True,
    ) -> None:
        """Open the file; lines after ``last_step``, of a run that was interrupted, are dropped.

        Args:
          directory: of the run.
          last_step: the step that the run continues from; -1 drops all lines.
          tensorboard: whether event files are written too, with tensorboardX.
          writes: False where another process writes: nothing is opened, nothing written.

        Raises:
          UserError: if event files are asked for and tensorboardX is not installed, or the file
            cannot be written.
        """
        self._path = directory / NAME
        self._file = self._board = None
        if not writes:
            return
        kept = [line for line in read_metrics(directory) if line["step"] <= last_step]
        text = "".join(_line(line) for line in kept)
        with self._written():
            replace_text(self._path, text)
        self._board = _event_writer(directory, last_step) if tensorboard else None
        with self._written():
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
        if self._file is None:
            return
        with self._written():
            self._file.write(_line({"step": step, "split": split, **values}))
            self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, int | float) and value is not None:
                    self._board.add_scalar(f"{split}/{name}", value, step)

    def close(self) -> None:
        """Write everything to disk, and close.

        Raises:
          UserError: if it cannot be written.
        """
        if self._file is None:
            return
        with self._written():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        if self._board is not None:
            self._board.close()


def read_metrics(directory: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the metrics of a run so far.

    Args:
      directory: of the run.

    Returns:
      One dict for each line of `metrics.jsonl`, in order, up to the first that is damaged: the last
      one may be incomplete. Empty if there is no file.
    """
    path = Path(directory) / NAME
    if not path.exists():
        return []
    lines = []
    # Bytes, since a line may be torn within a character.
    for text in path.read_bytes().split(b"\n"):
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(nan_to_none(values), ensure_ascii=False) + "\n"


def check_tensorboard() -> None:
    """Check that event files can be written.

    Raises:
      UserError: if tensorboardX is not installed.
    """
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise UserError("tensorboard: needs the extra 'tensorboard' (tensorboardX)") from None


def _event_writer(directory: Path, last_step: int) -> Any:
    check_tensorboard()
    from tensorboardX import SummaryWriter

    return SummaryWriter(str(directory / "tensorboard"), purge_step=last_step + 1)

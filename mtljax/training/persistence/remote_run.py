"""Run directories of another scheme, such as ``gs://bucket/run``, in copies on this machine."""

import contextlib
import os
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

from mtljax.copies import copied, worked_on
from mtljax.digests import NAME, joined_digests
from mtljax.errors import UserError
from mtljax.local_paths import scheme
from mtljax.training.persistence.run_directory import (
    CHECKPOINTS,
    CONFIG,
    LAYOUT,
    TASKS,
    TOKENIZER,
)

_CHECKPOINT = re.compile(rf"{CHECKPOINTS}/\d+/")


def run_to_read(path: str | os.PathLike[str]) -> Path:
    """A run directory that is only read: itself, or of another scheme a copy that is up to date.

    Args:
      path: of the run.

    Raises:
      UserError: if it cannot be copied.
    """
    return copied("run directory", path, _whole)


def run_settings(path: str | os.PathLike[str]) -> Path:
    """The same without checkpoints, and where no run is there a directory that is not there.

    Args:
      path: of the run.

    Raises:
      UserError: if it cannot be copied.
    """

    def without_checkpoints(names: frozenset[str]) -> frozenset[str]:
        return frozenset(name for name in names if not name.startswith(f"{CHECKPOINTS}/"))

    return copied("run directory", path, without_checkpoints, use="settings", must_be=False)


@contextlib.contextmanager
def run_to_write(
    path: str | os.PathLike[str],
    warn: Callable[[str], None] = warnings.warn,
    *,
    must_be: bool = False,
) -> Iterator[Path]:
    """A run directory that is written: itself, or a copy whose changes are copied there.

    A process that is killed leaves there what an earlier moment of the run was: its last checkpoint
    that was copied as a whole.

    Args:
      path: of the run.
      warn: is called with one line the first time that it cannot be copied there meanwhile.
      must_be: whether there has to be one, of another scheme.

    Yields:
      A directory of this machine.

    Raises:
      UserError: if it cannot be copied, or another process here writes it; of another scheme, if
        several processes train.
    """
    if scheme(path) and jax.process_count() > 1:
        raise UserError(
            f"run directory {os.fspath(path)}: several processes write one that all of them have; "
            "mount it, and give that directory"
        )
    joint = {NAME: joined_digests}
    with worked_on(
        "run directory", path, _order, _whole, joint, warn, must_be=must_be
    ) as directory:
        yield directory


def _order(name: str) -> tuple[int, str]:
    """Settings, of which the last makes a directory a run; what it has become; then checkpoints."""
    inside = _CHECKPOINT.match(name)
    if inside is not None:
        return (5 if name == f"{inside[0]}{NAME}" else 4), name
    return (0 if name in (TASKS, TOKENIZER, LAYOUT) else 1 if name == CONFIG else 2), name


def _whole(names: frozenset[str]) -> frozenset[str]:
    """The files of a run but for checkpoints that were copied in part."""

    def is_whole(name: str) -> bool:
        inside = _CHECKPOINT.match(name)
        return inside is None or f"{inside[0]}{NAME}" in names

    return frozenset(filter(is_whole, names))

"""The digests of a checkpoint's files, written by the threads that write the checkpoint.

Each process digests the arrays that it wrote, before Orbax waits for the others; the first process
digests the other files, when Orbax has merged what they wrote, and before the checkpoint gets its
name: there is none without its digests.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from mtljax.digests import (
    NAME,
    check_files,
    content_digest,
    dump_digests,
    read_digests,
    written_digest,
)

SCORE = "metrics/metrics"
"""The file of a checkpoint with its score."""

_STATE = "state"
_PROCESS = "ocdbt.process_{}"  # where Orbax has a process write its shards of the state
_PART = ".digests.{}"  # what a process other than the first hands to the first
METADATA = "_CHECKPOINT_METADATA"
"""The file in which Orbax notes when a checkpoint was complete."""

# Orbax writes these when all else is written; nothing that is read depends on what they say.
_LAST = (METADATA, "commit_success.txt")
_MAPPINGS = ("item_handlers", "metrics", "performance_metrics", "custom_metadata")
_TIMES = ("init_timestamp_nsecs", "commit_timestamp_nsecs")


def unfinished(directory: Path, name: int | str) -> Path:
    """The directory of a checkpoint, or of a part of one, before Orbax gives it its name."""
    return directory / f"{name}.orbax-checkpoint-tmp"


def digest_shards(checkpoint: Path, process: int) -> None:
    """Digest what a process has written, for `digest_checkpoint` in the first process.

    Args:
      checkpoint: the directory of a checkpoint that is not finished.
      process: the index of this process.

    Raises:
      OSError: if files cannot be read or written.
    """
    # Orbax renames the state when all have written theirs.
    within = _PROCESS.format(process)
    digests = _digests(unfinished(checkpoint, _STATE) / within, f"{_STATE}/{within}/")
    (checkpoint / _PART.format(process)).write_text(json.dumps(digests))


def digest_checkpoint(checkpoint: Path, processes: int) -> None:
    """Write the digests of a checkpoint.

    Args:
      checkpoint: the directory of a checkpoint that has all its files and not yet its name.
      processes: the number of processes that have written it; those after the first have called
        `digest_shards`.

    Raises:
      OSError: if files cannot be read or written.
    """
    digests: dict[str, str] = {}
    for process in range(1, processes):
        part = checkpoint / _PART.format(process)
        digests |= json.loads(part.read_text())
        part.unlink()
    digests |= _digests(checkpoint, "", digests)
    content = dump_digests({name: [digest] for name, digest in digests.items()})
    (checkpoint / NAME).write_text(content)


def _digests(within: Path, prefix: str, known: Mapping[str, str] = {}) -> dict[str, str]:
    """The digests of the files in a directory, without those whose path is known."""
    digests = {}
    # Of a small checkpoint the names would take longer than the digests as paths.
    start = len(os.path.join(within, ""))
    for directory, _, names in os.walk(within):
        for name in names:
            path = os.path.join(directory, name)
            relative = prefix + path[start:].replace(os.sep, "/")
            if relative not in known and relative not in _LAST:
                digests[relative] = written_digest(path)
    return digests


def check_checkpoint(checkpoint: Path, part: int = 0, parts: int = 1) -> bool:
    """Check that the files of a checkpoint are as they were written.

    Args:
      checkpoint: the directory of a checkpoint.
      part: which of the files to check, where several processes share them.
      parts: into how many parts the files are divided.

    Returns:
      Whether they could be checked: a checkpoint of an older version has no digests.

    Raises:
      ValueError: naming what is missing or has changed.
    """
    digests = read_digests(checkpoint)
    if digests is None:
        return False
    check_files(checkpoint, digests, sorted(digests)[part::parts])
    return True


def read_score(directory: Path, step: int) -> float | None:
    """The score of a checkpoint, None if it cannot be read or is not as it was written.

    Args:
      directory: of the checkpoints.
      step: of the checkpoint.
    """
    return (read_scores(directory, step) or {}).get("score")


def read_scores(directory: Path, step: int) -> dict[str, float] | None:
    """The numbers by which a checkpoint is kept, by name, with its ``score``.

    None if they cannot be read or are not as they were written.

    Args:
      directory: of the checkpoints.
      step: of the checkpoint.
    """
    checkpoint = directory / str(step)
    try:
        content = (checkpoint / SCORE).read_bytes()
        digests = read_digests(checkpoint)
        if digests is not None and content_digest(content) not in digests[SCORE]:
            return None
        scores = json.loads(content)
        usable = isinstance(scores["score"], int | float)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not usable or any(isinstance(score, bool) for score in scores.values()):
        return None
    return {n: float(score) for n, score in scores.items() if isinstance(score, int | float)}


def metadata_is_usable(checkpoint: Path) -> bool:
    """Whether Orbax can open a checkpoint with its `METADATA`; it can without.

    Args:
      checkpoint: the directory of a checkpoint.
    """
    try:
        content = json.loads((checkpoint / METADATA).read_bytes())
        mappings = [content.get(name) or {} for name in _MAPPINGS]
        times = [content.get(name) or 0 for name in _TIMES]
    except FileNotFoundError:
        return True
    except (OSError, ValueError, AttributeError, RecursionError):
        return False
    if not all(isinstance(mapping, dict) for mapping in mappings):
        return False
    if not all(isinstance(handler, str) for handler in mappings[0].values()):
        return False
    return all(type(time) is int and 0 <= time < 2**63 for time in times)


def without_digests(step: int) -> str:
    """What a user is told of a checkpoint that cannot be checked."""
    return f"checkpoint {step} has no {NAME}, as of an older version: it is read without a check"

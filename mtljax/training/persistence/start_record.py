"""`start.json`: what a run started from, if not from parameters that were drawn."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mtljax.digests import content_digest
from mtljax.errors import UserError
from mtljax.training.persistence.run_digests import replace_file, unchanged

START = "start.json"


def write_start(directory: Path, about: Mapping[str, Any]) -> None:
    """Write what a run starts from; it is there before the first checkpoint is.

    Args:
      directory: of the run.
      about: as JSON, with the `parameters_digest` of the ``shared`` parameters.

    Raises:
      UserError: if it cannot be written.
    """
    try:
        replace_file(directory, START, json.dumps(dict(about), indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(f"{directory / START}: {error.strerror or error}") from None


def read_start(directory: Path) -> dict[str, Any] | None:
    """Read what `write_start` wrote; None where a run has none.

    It was drawn then, or is of an older version.

    Raises:
      UserError: if it is damaged.
    """
    path = directory / START
    if not path.exists():
        return None
    try:
        about = json.loads(unchanged(directory, START).read_text(encoding="utf-8"))
        if not all(isinstance(about[name], str) for name in ("from", "shared")):
            raise ValueError("is no start of a run")
        return about
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: cannot be read ({reason})") from None


def parameters_digest(params: Any) -> str:
    """A digest of a tree of arrays: of paths, shapes, dtypes and content.

    The same whatever devices and processes have them; all processes must call it.

    Args:
      params: a tree of arrays.
    """
    parts = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        array = np.ascontiguousarray(_whole(leaf))
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        content = content_digest(array.tobytes())
        parts.append([name, list(array.shape), str(array.dtype), content])
    return content_digest(json.dumps(sorted(parts)).encode())


def _whole(leaf: Any) -> np.ndarray:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        from jax.experimental.multihost_utils import process_allgather

        return np.asarray(process_allgather(leaf, tiled=True))
    return np.asarray(leaf)

"""Fingerprints of data: digests that change when its content does."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mtljax.errors import UserError


def fingerprint_of(files: Iterable[Path], description: Any) -> str:
    """A digest of what some files hold and of how they are read.

    Args:
        files: read in this order; their names do not matter.
        description: plain JSON.

    Returns:
        64 hexadecimal digits.

    Raises:
        UserError: if a file cannot be read.
    """
    digests = []
    for path in files:
        try:
            with path.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or error}") from error
    content = json.dumps([digests, description], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()

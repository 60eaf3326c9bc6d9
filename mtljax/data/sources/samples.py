"""Few rows of a data set, drawn at random: to learn from little."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence

import numpy as np

from mtljax.data.sources.lazy_rows import Row, Rows
from mtljax.data.sources.source import Source

_SAMPLED = ("train", "validation")


def sampled(source: Source, count: int, seed: int) -> Source:
    """A data set with few rows of `train`, and at most as many of `validation`.

    A model that is chosen by many validation rows has learned from them too (Perez et al. 2021).
    For one seed the rows of fewer samples are among those of more. Other splits stay as they are.

    Args:
        source: the data set.
        count: rows of each of the two splits at most, 1 or more.
        seed: of the draw.

    Returns:
        The data set, whose fingerprint says what was drawn.
    """
    splits = {
        name: _drawn(rows, count, (seed, _SAMPLED.index(name))) if name in _SAMPLED else rows
        for name, rows in source.splits.items()
    }
    whole = source.fingerprint

    def fingerprint() -> str:
        assert whole is not None
        content = json.dumps([whole(), count, seed])
        return hashlib.sha256(content.encode()).hexdigest()

    return dataclasses.replace(
        source, splits=splits, fingerprint=None if whole is None else fingerprint
    )


def _drawn(rows: Sequence[Row], count: int, seed: tuple[int, ...]) -> Rows:
    @functools.cache
    def chosen() -> list[Row]:
        order = np.random.default_rng(seed).permutation(len(rows))
        numbers = set(order[:count].tolist())
        # In one pass: single rows of a large file are slow to read.
        return [row for number, row in enumerate(rows) if number in numbers]

    return Rows(lambda: len(chosen()), lambda start, stop: chosen()[start:stop])

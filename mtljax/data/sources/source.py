"""Sources: data sets with named features and splits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mtljax.data.sources.lazy_rows import subrange
from mtljax.kinds import FeatureKind


@dataclass(frozen=True)
class Feature:
    """One field of a data set's rows.

    Attributes:
        kind: `text` (str), `tokens` (list of str), `label` (int, -1 or None where missing),
            `tags` (list of int), `number` (int or float, NaN or None where missing) or `numbers`
            (list of numbers).
        classes: names of the classes of a `label` or of `tags`; empty where the data set does not
            name them.
    """

    kind: FeatureKind
    classes: tuple[str, ...] = ()


Locate = Callable[[str, Callable[[Mapping[str, Any]], bool], int | None], str | None]
"""From a split, what a row must be and the number of an item in it to a file and line."""


@dataclass(frozen=True)
class Source:
    """A data set.

    Attributes:
        name: name in a tasks file.
        identity: two sources with equal identity have the same rows in the same order, so that
            tasks on them can share one forward pass.
        features: the features of a row, by name.
        splits: rows by name of split, with at least `train`.
        fingerprint: computes a hexadecimal digest that changes when the content of the data, or
            how it is read, does; None where there is no such digest.
        skipped: counts the malformed rows that were left out, by name of data set and split, as far
            as they have been read; None where rows cannot be malformed.
        locate: `(split, matches, item) -> text`, file and line of the first row of a split that
            `matches`, and in it of an item of its lists, or None for the row itself; None where no
            row does. None for rows that no file has.
    """

    name: str
    identity: str
    features: Mapping[str, Feature]
    splits: Mapping[str, Sequence[Mapping[str, Any]]]
    fingerprint: Callable[[], str] | None = None
    skipped: Callable[[], Mapping[str, Mapping[str, int]]] | None = None
    locate: Locate | None = None


def first_rows(source: Source, count: int) -> Source:
    """A data set of the first rows of each split, `count` at most."""
    splits = {
        name: subrange(rows, lambda size: range(min(size, count)))
        for name, rows in source.splits.items()
    }
    return replace(source, splits=splits, fingerprint=None)

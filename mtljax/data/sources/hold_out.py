"""A validation split held out of train, by what rows hold and not by where they stand.

A tenth of the rows is taken in the order of a hash of their content, from each class in
proportion. So the split is the same in whatever order a file has its rows, on every machine and in
every version; rows of equal content are on one side, unless there are too few others, and a class
is never held out altogether.
"""

import functools
import hashlib
import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mtljax.data.sources.lazy_rows import Row, Rows
from mtljax.kinds.labels import Indicators, is_missing, text_of

SHARE = 10
"""One of so many rows is held out."""

_BLOCK = 4096  # rows that are read at a time
_KNOWN = 65_536  # distinct targets whose classes are remembered

Label = tuple[int, str]
"""The number of a feature of classes, and a class of it; an empty one where there is none."""

_NO_LABELS: frozenset[Label] = frozenset()


def hold_out(
    splits: Mapping[str, Sequence[Row]], content: Sequence[str], classes: Sequence[str] = ()
) -> dict[str, Sequence[Row]]:
    """Splits with a tenth of train held out as validation, where there is none.

    Args:
        splits: rows by name of split, with at least `train`.
        content: the features by which rows are the same, such as the text that is read; nothing
            for all of them.
        classes: features with labels, tags or sets of them, whose classes are held out in
            proportion.

    Returns:
        The splits. Which rows of train are held out is found when either is first used; both keep
        the order of the file.
    """
    if "validation" in splits:
        return dict(splits)
    rows = splits["train"]
    held_out = functools.cache(lambda: held_out_rows(rows, content, classes))
    return {
        **splits,
        "train": _selected(rows, functools.cache(lambda: np.flatnonzero(~held_out()))),
        "validation": _selected(rows, functools.cache(lambda: np.flatnonzero(held_out()))),
    }


def held_out_rows(
    rows: Iterable[Row], content: Sequence[str], classes: Sequence[str] = ()
) -> np.ndarray:
    """Which rows are held out.

    Rows of equal content are taken as one. They belong to the stratum of their classes: of each of
    the features of classes the rarest one that they have. Strata are gone through by name, and
    give the rows whose hashes are the smallest, until a tenth of all rows up to there is held out,
    rounded down: of each class a tenth, give or take one row. Rows of equal content that would be
    more than that stay in train, and so does the last content that a class has there. Where that
    holds nothing out of ten rows and more, as of a file that repeats a few texts, rows of equal
    content are taken one by one, and validation has texts that train has.

    Args:
        rows: all rows, read once.
        content: as for `hold_out`.
        classes: as for `hold_out`.

    Returns:
        Bool `[rows]`.
    """
    contents = array("Q")
    row_labels: list[frozenset[Label]] = []
    # Rows share the few sets of labels that there are.
    distinct: dict[frozenset[Label], frozenset[Label]] = {}
    # Most labels are one of a few texts or numbers.
    known: dict[Any, frozenset[Label]] = {}
    for row in rows:
        values = [row[name] for name in content] if content else sorted(row.items())
        contents.append(_hash(values))
        targets = tuple(row[name] for name in classes)
        key = tuple(map(repr, targets)) if len(known) < _KNOWN else None
        labels = known.get(key)
        if labels is None:
            found = frozenset(
                (number, label)
                for number, target in enumerate(targets)
                for label in _labels(target)
            )
            labels = distinct.setdefault(found, found)
            if key is not None:
                known[key] = labels
        row_labels.append(labels)
    taken = _a_tenth(contents, row_labels)
    if taken.any() or len(contents) < SHARE:
        return taken
    # Few contents that are repeated: each time counts as a content of its own.
    times = Counter[str]()
    for number, pair in enumerate(zip(contents, map(sorted, row_labels), strict=True)):
        times[repr(pair)] += 1
        contents[number] = _hash([*pair, times[repr(pair)]])
    return _a_tenth(contents, row_labels)


def _a_tenth(hashes: Sequence[int], row_labels: Sequence[frozenset[Label]]) -> np.ndarray:
    """Which rows are held out, by the hashes of their contents and their classes."""
    # Contents, in the order of their hashes, and the rows of each.
    values, content_of, sizes = np.unique(
        np.asarray(hashes, np.uint64), return_inverse=True, return_counts=True
    )
    content_labels: list[frozenset[Label]] = [_NO_LABELS] * len(values)
    for number, labels in zip(content_of.tolist(), row_labels, strict=True):
        before = content_labels[number]
        if before is not labels:
            content_labels[number] = labels if before is _NO_LABELS else before | labels

    # Strata. A class that is rare is stratified before those that rows have besides it.
    rows_of_label = Counter[Label]()
    for labels, count in Counter(row_labels).items():
        for label in labels:
            rows_of_label[label] += count
    strata: dict[tuple[str, ...], list[int]] = defaultdict(list)
    stratum_of: dict[frozenset[Label], tuple[str, ...]] = {}
    for number, labels in enumerate(content_labels):
        if labels not in stratum_of:
            stratum_of[labels] = _rarest(labels, rows_of_label)
        strata[stratum_of[labels]].append(number)

    # What is held out: never all that train has of a class.
    left_in_train = Counter[Label]()
    for labels, count in Counter(content_labels).items():
        for label in labels:
            left_in_train[label] += count
    taken = np.zeros(len(values), bool)
    seen = held = 0
    for stratum in sorted(strata):
        rows_of_stratum = int(sizes[strata[stratum]].sum())
        seen += rows_of_stratum
        most = min(seen // SHARE, held - (-rows_of_stratum // SHARE))
        for number in strata[stratum]:
            if held >= most:
                break
            fits = held + sizes[number] <= most
            if fits and all(left_in_train[label] > 1 for label in content_labels[number]):
                taken[number] = True
                held += int(sizes[number])
                left_in_train.subtract(content_labels[number])
    return taken[content_of] if len(values) else np.zeros(0, bool)


def _rarest(labels: frozenset[Label], rows_of_label: Mapping[Label, int]) -> tuple[str, ...]:
    """Of each feature the class that the fewest rows have."""
    rarest: dict[int, tuple[int, str]] = {}
    for feature, label in labels:
        candidate = (rows_of_label[feature, label], label)
        rarest[feature] = min(rarest.get(feature, candidate), candidate)
    return tuple(rarest[feature][1] for feature in sorted(rarest))


_ENCODER = json.JSONEncoder(default=str)


def _hash(values: Any) -> int:
    # JSON is the same in all versions, and its escapes have no lone surrogates.
    text = _ENCODER.encode(values)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _labels(value: Any) -> set[str]:
    """The classes of a target, as texts; an empty one where it is missing."""
    if isinstance(value, Indicators):
        value = value.chosen
    labels = value if isinstance(value, list | tuple) else [value]
    return {"" if is_missing(label) else text_of(label) or str(label) for label in labels} or {""}


def _selected(rows: Sequence[Row], chosen: Callable[[], np.ndarray]) -> Rows:
    def read(start: int, stop: int) -> list[Row]:
        numbers = chosen()[start:stop]
        if not len(numbers):
            return []
        # From the row after the one before, so that a file read in order is read without a gap.
        begin = int(chosen()[start - 1]) + 1 if start else 0
        end = int(numbers[-1]) + 1
        block: list[Row] = []
        for first in range(begin, end, _BLOCK):
            last = min(first + _BLOCK, end)
            inside = numbers[np.searchsorted(numbers, first) : np.searchsorted(numbers, last)]
            if len(inside):
                part = rows[first:last]
                block += [part[number - first] for number in inside.tolist()]
        return block

    return Rows(lambda: len(chosen()), read)

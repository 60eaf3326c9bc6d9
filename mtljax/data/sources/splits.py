"""Splits of a data set: slices of another set's splits, and a validation split held out."""

import functools
from collections.abc import Mapping, Sequence

from mtljax.data.sources.lazy_rows import Row, Rows, concatenated, subrange
from mtljax.errors import UserError
from mtljax.tasks import Dataset, Slice, parse_slices, suggestion

_HELD_OUT = 10  # every tenth row of train, where a set has no validation split


def select_splits(
    dataset: Dataset, splits: Mapping[str, Sequence[Row]], aliases: Mapping[str, str] | None = None
) -> dict[str, Sequence[Row]]:
    """The splits of a description, made of slices of another set's splits.

    Args:
        dataset: a description with splits.
        splits: rows of the other set, by name of split.
        aliases: other names of its splits, with the names they stand for.

    Returns:
        Rows by name of split. One that is empty raises UserError when it is used.

    Raises:
        UserError: with source and split, if the other set has no split of that name.
    """
    selected = {}
    for split, texts in dataset.splits:
        slices = []
        for row_slice in (parse_slices(text)[0] for text in texts):
            name = (aliases or {}).get(row_slice.name, row_slice.name)
            if name not in splits:
                close = suggestion(row_slice.name, splits)
                raise UserError(
                    f"source {dataset.name!r}, split {split!r}: {dataset.dataset!r} has no split "
                    f"{row_slice.name!r}{close}"
                )
            slices.append(slice_rows(splits[name], row_slice, dataset.name, split))
        selected[split] = require_rows(concatenated(slices), dataset.name, split)
    return selected


def slice_rows(rows: Sequence[Row], row_slice: Slice, source: str, split: str) -> Sequence[Row]:
    """A slice of some rows, checked when it is first used.

    Args:
        rows: all rows.
        row_slice: which of them.
        source: name of the data set, for messages.
        split: name of the split, for messages.

    Raises:
        UserError: when it is used, if it reaches beyond the rows.
    """
    if row_slice.everything:
        return rows

    def choose(size: int) -> range:
        try:
            return row_slice.rows(size)
        except ValueError as error:
            raise UserError(f"source {source!r}, split {split!r}: {error}") from None

    return subrange(rows, choose)


def require_rows(rows: Sequence[Row], source: str, split: str) -> Sequence[Row]:
    """The rows, which raise UserError with source and split when they are used and are none."""

    def count() -> int:
        if not len(rows):
            raise UserError(f"source {source!r}, split {split!r}: no rows")
        return len(rows)

    return Rows(count, lambda start, stop: list(rows[start:stop]))


def with_validation(splits: Mapping[str, Sequence[Row]]) -> dict[str, Sequence[Row]]:
    """Splits with every tenth row of train held out as validation, where there is none."""
    if "validation" in splits:
        return dict(splits)
    rows = splits["train"]

    def validation(start: int, stop: int) -> list[Row]:
        begin = start * _HELD_OUT
        return list(rows[begin : stop * _HELD_OUT])[_HELD_OUT - 1 :: _HELD_OUT]

    def train(start: int, stop: int) -> list[Row]:
        if start >= stop:
            return []
        # Before each kept row i lie i // 9 that are held out.
        begin, end = (i + i // (_HELD_OUT - 1) for i in (start, stop - 1))
        block = rows[begin : end + 1]
        return [row for i, row in enumerate(block, begin) if i % _HELD_OUT != _HELD_OUT - 1]

    held_out = functools.cache(lambda: len(rows) // _HELD_OUT)
    return {
        **splits,
        "train": Rows(lambda: len(rows) - held_out(), train),
        "validation": Rows(held_out, validation),
    }

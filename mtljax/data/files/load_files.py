"""Data sets that a tasks file describes: files of one's own, or other splits of a set."""

import functools
import itertools
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mtljax.data.files.file_rows import FileRows
from mtljax.data.files.find_files import Parts, declared_columns, find_files
from mtljax.data.files.formats import OPENERS, Opened
from mtljax.data.files.readers import Lines, open_file
from mtljax.data.files.schema import Convert, feature_of
from mtljax.data.sources.bad_rows import READ_ERRORS, BadRows, reason_of
from mtljax.data.sources.fingerprint import fingerprint_of
from mtljax.data.sources.lazy_rows import Row, Rows, concatenated
from mtljax.data.sources.source import Feature, Source
from mtljax.data.sources.splits import require_rows, slice_rows, with_validation
from mtljax.errors import UserError
from mtljax.tasks import Column, Dataset

_SAMPLE = 1000  # rows from which the kinds of features are inferred


def load_files(
    dataset: Dataset,
    data_dir: str | os.PathLike[str] | None = None,
    bad_rows: BadRows = "stop",
    wanted: Collection[str] | None = None,
    required: Collection[str] = (),
) -> Source:
    """Opens a data set whose splits are files.

    Where it has no validation split, every tenth row of train is held out as one. The kind of a
    feature that is not declared is that of its first value in train that is not empty.

    Args:
        dataset: of any format but `tfds`.
        data_dir: where relative paths are looked up, before the working directory.
        bad_rows: what a malformed row does: `stop` with an error that names file and line, or
            `skip`, left out and counted.
        wanted: the features that are read; those of other names are not checked, and rows do not
            have them. None for all.
        required: those without which a row is malformed.

    Returns:
        The data set. Its files are read when a split is first used.

    Raises:
        UserError: with the source, if a file is not there or does not have what is declared.
    """
    parts = find_files(dataset, data_dir)
    columns = declared_columns(dataset, data_dir)
    paths = list(dict.fromkeys(p for split in parts.values() for _, ps in split for p in ps))
    train = [path for _, paths in parts["train"] for path in paths]
    fields = _fields(dataset, columns, train, bad_rows)
    read = [field for field in fields if wanted is None or field.name in wanted]

    def open_rows(path: Path) -> tuple[Opened, Callable[[Any], Row]]:
        opened = OPENERS[dataset.format](dataset, path)
        bound = [(field.name, opened.get(field.column), field.convert) for field in read]
        return opened, functools.partial(_to_row, bound, frozenset(required))

    files = {path: FileRows(dataset.name, path, open_rows, bad_rows) for path in paths}
    splits: dict[str, Sequence[Row]] = {}
    for split, pieces in parts.items():
        slices = [
            slice_rows(_all_rows([files[path] for path in paths]), piece, dataset.name, split)
            for piece, paths in pieces
        ]
        splits[split] = require_rows(concatenated(slices), dataset.name, split)
    description = {
        "format": [getattr(dataset, option) for option in _OPTIONS],
        "features": [(c.name, c.column, c.kind, c.classes) for c in columns],
        "splits": {
            split: [(piece.start, piece.stop, piece.percent, len(ps)) for piece, ps in pieces]
            for split, pieces in parts.items()
        },
    }
    everything = [p for pieces in parts.values() for _, paths in pieces for p in paths]
    # Which rows are skipped depends on what is checked.
    checked = [bad_rows, sorted(field.name for field in read), sorted(required)]
    identity = [description, checked if bad_rows == "skip" else [], *map(str, everything)]
    return Source(
        name=dataset.name,
        identity=json.dumps(identity),
        features={field.name: field.feature for field in fields},
        splits=with_validation(splits) if not dataset.splits else splits,
        fingerprint=functools.cache(lambda: fingerprint_of(everything, [description, checked])),
        skipped=lambda: {dataset.name: _skipped(parts, files)},
    )


_OPTIONS = ("format", "header", "separator", "quotes", "comments", "paragraphs")


def _all_rows(files: Sequence[FileRows]) -> Sequence[Row]:
    return concatenated([Rows(file.count, file.read) for file in files])


def _skipped(parts: Parts, files: Mapping[Path, FileRows]) -> dict[str, int]:
    # A malformed row belongs to the slice that the next good row is in, the last to the last.
    counts = {}
    for split, pieces in parts.items():
        counts[split] = 0
        for piece, paths in pieces:
            read = [files[path] for path in paths]
            if any(file.bad is None for file in read):
                continue
            ends = list(itertools.accumulate((file.count() for file in read), initial=0))
            chosen = piece.rows(ends[-1])
            for begin, file in zip(ends, read, strict=False):
                for place in file.bad or ():
                    at = min(begin + place, max(ends[-1] - 1, 0))
                    counts[split] += at in chosen
    return counts


class _Field(NamedTuple):
    name: str
    feature: Feature
    column: str | int
    convert: Convert


def _fields(
    dataset: Dataset, columns: Sequence[Column], train: Sequence[Path], bad_rows: BadRows
) -> list[_Field]:
    # The features, those that are not declared by the first rows of train.
    where = f"source {dataset.name!r}"
    for path in train:
        try:
            opened = OPENERS[dataset.format](dataset, path)
            with open_file(path) as file:
                records = list(itertools.islice(opened.records(Lines(file)), _SAMPLE))
            sample = [record.values for record in records if record.problem is None]
            if not sample and records and bad_rows == "stop":
                first = records[0]
                raise UserError(f"{where}, {path}, line {first.line}: {first.problem}")
            declared = {c.name: [opened.get(c.column)(v) for v in sample] for c in columns}
        except READ_ERRORS as error:
            raise UserError(f"{where}, {path}: cannot be read: {reason_of(error)}") from error
        except ValueError as error:
            raise UserError(f"{where}, {path}: {error}") from None
        if sample:
            break
    else:
        raise UserError(f"{where}, split 'train': no rows in {', '.join(map(str, train))}")
    found: dict[str, _Field] = {}
    for column in columns:
        known = feature_of(declared[column.name], column.kind, _names(column), opened.cells)
        if known is None:
            raise UserError(
                f"{where}, feature {column.name!r}: none of the first {len(sample)} rows has a "
                f"value that tells its kind: declare the kind"
            )
        found[column.name] = _Field(column.name, known[0], column.column, known[1])
    taken = {column.column for column in columns}
    others: dict[str, list[Any]] = {}
    for values in sample:
        for name, value in opened.columns(values):
            if name not in taken and name not in found:
                others.setdefault(name, []).append(value)
    for name, values in others.items():
        known = feature_of(values, cells=opened.cells)
        if known is not None:
            found[name] = _Field(name, known[0], name, known[1])
    return list(found.values())


def _names(column: Column) -> tuple[str, ...]:
    assert isinstance(column.classes, tuple)
    return column.classes


def _to_row(
    bound: Sequence[tuple[str, Callable[[Any], Any], Convert]],
    required: frozenset[str],
    values: Any,
) -> Row:
    row = {}
    for name, get, convert in bound:
        try:
            row[name] = convert(get(values))
        except ValueError as error:
            raise ValueError(f"feature {name!r}: {error}") from None
        if row[name] is None and name in required:
            raise ValueError(f"feature {name!r}: missing")
    return row

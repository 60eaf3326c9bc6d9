"""Loading of data sets that a tasks file describes as files."""

import functools
import itertools
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mtljax.data.files.file_rows import FileRows
from mtljax.data.files.find_files import SplitFiles, declared_columns, find_files
from mtljax.data.files.formats import OPENERS, Opened
from mtljax.data.files.readers import Lines
from mtljax.data.files.schema import Convert, feature_of, finite, in_float32
from mtljax.data.sources.bad_rows import READ_ERRORS, BadRows
from mtljax.data.sources.fingerprint import fingerprint_of
from mtljax.data.sources.hold_out import hold_out
from mtljax.data.sources.lazy_rows import Row, Rows, concatenated
from mtljax.data.sources.source import Feature, Source
from mtljax.data.sources.splits import require_rows, slice_rows
from mtljax.errors import UserError, reason_of
from mtljax.tasks import Column, Dataset

_SAMPLE = 1000  # rows from which the kinds of features are inferred


def load_files(
    dataset: Dataset,
    data_dir: str | os.PathLike[str] | None = None,
    bad_rows: BadRows = "stop",
    wanted: Collection[str] | None = None,
    required: Collection[str] = (),
    classes: Collection[str] = (),
) -> Source:
    """Opens a data set whose splits are files.

    If the description names no splits, a tenth of train is held out as validation, by what its rows
    have in the required features (`mtljax.data.sources.hold_out`). The kind of a feature that is
    not declared is that of its first value in train that is not empty.

    Args:
        dataset: a description in any format but `tfds`.
        data_dir: where relative paths are looked up, before the working directory.
        bad_rows: what a malformed row does: `stop` with an error that names file and line, or
            `skip`, left out and counted.
        wanted: names of the features that are read; the others are not checked, and rows do not
            have them. None for all.
        required: names of the features without which a row is malformed.
        classes: names of the features with classes, of each of which a tenth is held out.

    Returns:
        The data set. Its files are read when a split is first used.

    Raises:
        UserError: with the source, if a file does not exist or lacks what is declared.
    """
    # Files, and the features: the first rows of train are read for the kinds that are inferred.
    split_files = find_files(dataset, data_dir)
    columns = declared_columns(dataset, data_dir)
    # A file that several slices name is listed once for each of them.
    listed = [path for slices in split_files.values() for _, paths in slices for path in paths]
    train = [path for _, paths in split_files["train"] for path in paths]
    fields = _fields(dataset, columns, train, bad_rows)
    read = [field for field in fields if wanted is None or field.name in wanted]

    def open_rows(path: Path) -> tuple[Opened, Callable[[Any], Row]]:
        opened = OPENERS[dataset.format](dataset, path)
        getters = [
            (field.name, opened.get(field.column), _checked(field, field.name in classes))
            for field in read
        ]
        return opened, functools.partial(_to_row, getters, frozenset(required))

    # Rows: a file is opened once, however many slices of it there are.
    files = {path: FileRows(dataset.name, path, open_rows, bad_rows) for path in listed}
    splits: dict[str, Sequence[Row]] = {}
    for split, slices in split_files.items():
        sliced = [
            slice_rows(_all_rows([files[path] for path in paths]), row_slice, dataset.name, split)
            for row_slice, paths in slices
        ]
        splits[split] = require_rows(concatenated(sliced), dataset.name, split)

    # The identity is of paths and how they are read, the fingerprint of contents.
    description: dict[str, Any] = {
        "format": [
            *(getattr(dataset, option) for option in _OPTIONS),
            *((o, value) for o in _LATER_OPTIONS if (value := getattr(dataset, o)) is not None),
        ],
        "features": [
            (c.name, c.column, c.kind, c.classes, *([c.separator] if c.separator else []))
            for c in columns
        ],
        "splits": {
            split: [(part.start, part.stop, part.percent, len(paths)) for part, paths in slices]
            for split, slices in split_files.items()
        },
    }
    if not dataset.splits:
        names = {field.name for field in read}
        by = [sorted(names.intersection(required)), sorted(names.intersection(classes))]
        splits = hold_out(splits, *by)
        description["held out"] = by
    # Which rows are skipped depends on what is checked.
    checked = [bad_rows, sorted(field.name for field in read), sorted(required)]
    identity = [description, checked if bad_rows == "skip" else [], *map(str, listed)]
    return Source(
        name=dataset.name,
        identity=json.dumps(identity),
        features={field.name: field.feature for field in fields},
        splits=splits,
        fingerprint=functools.cache(lambda: fingerprint_of(listed, [description, checked])),
        skipped=lambda: {dataset.name: _skipped(split_files, files)},
        locate=functools.partial(_locate, split_files, files),
    )


_OPTIONS = ("format", "header", "separator", "quotes", "comments", "paragraphs")
_LATER_OPTIONS = ("escape", "skip_blanks")  # described where given, so that fingerprints stay


def _all_rows(files: Sequence[FileRows]) -> Sequence[Row]:
    return concatenated([Rows(file.count, file.read) for file in files])


def _locate(
    split_files: SplitFiles,
    files: Mapping[Path, FileRows],
    split: str,
    matches: Callable[[Row], bool],
    item: int | None,
) -> str | None:
    # A split that is held out is in the files of train.
    for _, paths in split_files.get(split, split_files["train"]):
        for path in paths:
            line = files[path].line_of(matches, item)
            if line is not None:
                return f"{path}, line {line}"
    return None


def _skipped(split_files: SplitFiles, files: Mapping[Path, FileRows]) -> dict[str, int]:
    # A malformed row counts for the slice of the next good row, the last ones for that of the last.
    counts = {}
    for split, slices in split_files.items():
        counts[split] = 0
        for row_slice, paths in slices:
            read = [files[path] for path in paths]
            if any(file.bad is None for file in read):
                continue
            ends = list(itertools.accumulate((file.count() for file in read), initial=0))
            try:
                chosen = row_slice.rows(ends[-1])
            except ValueError:
                continue  # beyond the rows, which is an error where the split is read
            for begin, file in zip(ends, read, strict=False):
                for good_rows_before in file.bad or ():
                    next_good = min(begin + good_rows_before, max(ends[-1] - 1, 0))
                    counts[split] += next_good in chosen
    return counts


class _Field(NamedTuple):
    name: str
    feature: Feature
    column: str | int
    convert: Convert


def _fields(
    dataset: Dataset, columns: Sequence[Column], train: Sequence[Path], bad_rows: BadRows
) -> list[_Field]:
    where = f"source {dataset.name!r}"
    # A sample: the first rows of the first file of train that has any.
    for path in train:
        try:
            opened = OPENERS[dataset.format](dataset, path)
            with opened.open(path) as file:
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
    # Declared features, whose kind may have to be inferred all the same.
    fields: dict[str, _Field] = {}
    for column in columns:
        inferred = feature_of(
            declared[column.name], column.kind, _names(column), opened.cells, column.separator
        )
        if inferred is None:
            raise UserError(
                f"{where}, feature {column.name!r}: none of the first {len(sample)} rows has a "
                f"value that tells its kind: declare the kind"
            )
        fields[column.name] = _Field(column.name, inferred[0], column.column, inferred[1])
    # Features that the file names itself, but for columns that are declared under another name.
    taken = {column.column for column in columns}
    others: dict[str, list[Any]] = {}
    for values in sample:
        for name, value in opened.columns(values):
            if name not in taken and name not in fields:
                others.setdefault(name, []).append(value)
    for name, values in others.items():
        inferred = feature_of(values, cells=opened.cells)
        if inferred is not None:
            fields[name] = _Field(name, inferred[0], name, inferred[1])
    return list(fields.values())


def _checked(field: _Field, has_classes: bool) -> Convert:
    # A number that is a label is a name, of any length; other numbers are computed with.
    kind = field.feature.kind
    if has_classes or kind in ("label", "tags"):
        return finite(field.convert)
    return in_float32(field.convert) if kind in ("number", "numbers") else field.convert


def _names(column: Column) -> tuple[str, ...]:
    assert isinstance(column.classes, tuple)
    return column.classes


def _to_row(
    getters: Sequence[tuple[str, Callable[[Any], Any], Convert]],
    required: frozenset[str],
    values: Any,
) -> Row:
    row = {}
    for name, get, convert in getters:
        try:
            row[name] = convert(get(values))
        except ValueError as error:
            raise ValueError(f"feature {name!r}: {error}") from None
        if row[name] is None and name in required:
            raise ValueError(f"feature {name!r}: missing")
    return row

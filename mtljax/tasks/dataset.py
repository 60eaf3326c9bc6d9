"""The description of a user's data set: its files, their format, and the features they hold."""

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from mtljax.errors import UserError
from mtljax.kinds.labels import short
from mtljax.tasks.matching import matching
from mtljax.tasks.slices import parse_slices
from mtljax.tasks.suggest import suggestion

SPLITS = ("train", "validation", "test")
"""The splits that are read, of those that a data set has."""

ENDINGS: dict[str, str] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".conll": "conll",
    ".conllu": "conll",
    ".conllup": "conll",
    ".iob": "conll",
    ".iob2": "conll",
    ".bio": "conll",
    ".cupt": "conll",
    ".txt": "text",
}
"""The format of a file by its ending, without that of a packed one."""

PACKED_ENDINGS: tuple[str, ...] = (".gz", ".xz", ".bz2", ".zst")
"""The endings of packed files, which say nothing of their format."""

FORMATS: tuple[str, ...] = ("tfds", "jsonl", "csv", "tsv", "conll", "text")
"""Every format of a data set."""

FEATURE_KINDS: tuple[str, ...] = ("text", "tokens", "label", "tags", "number", "numbers")
"""Every kind of feature."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
# The options that only some formats read.
_OPTIONS = {
    "path": ("jsonl", "csv", "tsv", "conll", "text"),
    "features": ("jsonl", "csv", "tsv", "conll", "text"),
    "dataset": ("tfds",),
    "header": ("csv", "tsv"),
    "separator": ("csv", "tsv", "conll"),
    "quotes": ("csv", "tsv"),
    "escape": ("csv", "tsv"),
    "skip_blanks": ("csv", "tsv"),
    "comments": ("conll",),
    "paragraphs": ("text",),
}


@dataclass(frozen=True)
class Column:
    """A declared feature of a data set.

    Attributes:
        name: name of the feature for tasks.
        column: where a row has it: a column by name or, from 0, by number (negative from the
            last); a dotted path into a JSON object; `text` in plain text; in CoNLL-U also by the
            names that the file has for its columns.
        kind: `text`, `tokens`, `label`, `tags`, `number` or `numbers`; None to infer it.
        classes: names of the classes of a `label` or of `tags`, in order; or the name of a file
            with one a line.
        separator: between the items of `tokens`, `tags` or `numbers` that are written in one text;
            None for blanks.
    """

    name: str
    column: str | int
    kind: str | None = None
    classes: tuple[str, ...] | str = ()
    separator: str | None = None


@dataclass(frozen=True)
class Dataset:
    """A data set that a tasks file describes.

    Attributes:
        name: name of the data set for tasks.
        splits: for `train`, `validation` and `test` the slices they are made of, each `file`,
            `file[:90%]` or `file[10:]`, where a file may be a pattern such as `part-*.jsonl`; for a
            TFDS set its own splits instead of files. Given as a mapping of names to one text (`a+b`
            joins two) or a list. Without any, `path` is `train`, or a TFDS set has its own.
        format: `tfds`, `jsonl`, `csv`, `tsv`, `conll` or `text`; by the ending of the files where
            left out.
        path: a directory that holds the files of the splits, or a single file.
        dataset: instead of files, the name of a set inside the package or in TFDS format.
        features: declared features; of the others that a file has, the kind is inferred. Given as
            a mapping of names to columns or to the fields of `Column`.
        header: csv, tsv: whether the first row names the columns.
        separator: between columns; by default a comma (csv), a tab (tsv) or blanks (conll).
        quotes: whether `"` quotes a cell; by default in csv and not in tsv.
        escape: csv, tsv: a character before a quote or separator that belongs to a cell, such as
            a backslash; None where quotes are doubled.
        skip_blanks: csv, tsv: whether blanks after a separator are left out, also before quotes.
        comments: conll: how a comment line begins; an empty text for no comments; None for `#`
            where the line is no word of the file's columns.
        paragraphs: text: whether a row is a paragraph, up to an empty line, rather than a line.

    Raises:
        UserError: with the source and the field, if a value cannot be used.

    >>> Dataset("reviews", {"train": "a.jsonl[:90%]", "validation": "a.jsonl[90%:]"}).format
    'jsonl'
    """

    name: str
    splits: tuple[tuple[str, tuple[str, ...]], ...] = ()
    format: str = ""
    path: str | None = None
    dataset: str | None = None
    features: tuple[Column, ...] = ()
    header: bool = True
    separator: str | None = None
    quotes: bool | None = None
    escape: str | None = None
    skip_blanks: bool | None = None
    comments: str | None = None
    paragraphs: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise UserError(
                f"source name {self.name!r}: use letters, digits, '_', '-' and '.' (quote a number)"
            )
        for field in ("path", "dataset", "separator", "escape", "comments"):
            value = getattr(self, field)
            if value is not None and (
                not isinstance(value, str) or (not value and field != "comments")
            ):
                self._refuse(field, f"expected a text, got {value!r}")
        for field in ("header", "paragraphs", "quotes", "skip_blanks"):
            value = getattr(self, field)
            optional = field in ("quotes", "skip_blanks")
            if not isinstance(value, bool) and not (value is None and optional):
                self._refuse(field, f"expected true or false, got {value!r}")
        object.__setattr__(self, "splits", self._checked_splits())
        object.__setattr__(self, "features", self._checked_features())
        object.__setattr__(self, "format", self._checked_format())
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        for field, formats in _OPTIONS.items():
            if getattr(self, field) != defaults[field] and self.format not in formats:
                self._refuse(field, f"not for format {self.format} ({', '.join(formats)} only)")
        if self.format in ("csv", "tsv"):
            for field in ("separator", "escape"):
                value = getattr(self, field)
                if value is not None and (len(value) != 1 or value in '\r\n"'):
                    self._refuse(field, f"expected one character, got {short(value)}")
            if self.escape and self.escape == self.separator:
                self._refuse("escape", "is the separator too")
        if self.format == "conll" and not self.features:
            self._refuse("features", "name the columns, such as {tokens: 0, tags: 3}")

    def _refuse(self, field: str, reason: str) -> NoReturn:
        raise UserError(f"source {self.name!r}, field {field!r}: {reason}")

    def _checked_splits(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        # A mapping, as a tasks file has it, or pairs.
        declared: Any = self.splits
        if isinstance(declared, Mapping):
            declared = tuple(declared.items())
        if not isinstance(declared, tuple) or any(
            not isinstance(item, tuple) or len(item) != 2 for item in declared
        ):
            self._refuse("splits", f"expected names of splits with files, got {declared!r}")
        checked = []
        for split, parts in declared:
            where = f"splits.{split}"
            if split not in SPLITS:
                self._refuse(where, f"unknown split{suggestion(split, SPLITS)}")
            parts = (parts,) if isinstance(parts, str) else parts
            if not isinstance(parts, tuple | list) or not all(isinstance(p, str) for p in parts):
                self._refuse(where, f"expected a file or a list of files, got {parts!r}")
            if not any(part.strip() for part in parts):
                self._refuse(where, "names no file")
            slices = [part.strip() for text in parts for part in text.split("+")]
            for part in slices:
                try:
                    parsed = parse_slices(part)
                except ValueError as error:
                    self._refuse(where, str(error))
                if not parsed[0].name and self.path is None:
                    self._refuse(where, f"{part!r} names no file")
            checked.append((split, tuple(slices)))
        if len({split for split, _ in checked}) < len(checked):
            self._refuse("splits", "a split appears twice")
        if checked and "train" not in {split for split, _ in checked}:
            self._refuse("splits", "no train split")
        return tuple(sorted(checked, key=lambda item: SPLITS.index(item[0])))

    def _checked_features(self) -> tuple[Column, ...]:
        declared: Any = self.features
        if isinstance(declared, Mapping):
            declared = tuple(self._column(name, fields) for name, fields in declared.items())
        if not isinstance(declared, tuple) or not all(isinstance(c, Column) for c in declared):
            self._refuse("features", f"expected names of features with columns, got {declared!r}")
        names = [column.name for column in declared]
        if len(set(names)) < len(names):
            self._refuse("features", "a name appears twice")
        for column in declared:
            self._check_column(column)
        return declared

    def _column(self, name: Any, fields: Any) -> Column:
        where = f"features.{name}"
        if isinstance(fields, int | str) and not isinstance(fields, bool):
            return Column(name, fields)
        if not isinstance(fields, Mapping):
            self._refuse(where, f"expected a column, or column, kind and classes, got {fields!r}")
        known = ("column", "kind", "classes", "separator")
        for key in fields:
            if key not in known:
                self._refuse(where, f"unknown field {key!r}{suggestion(key, known)}")
        classes = fields.get("classes") or ()
        if isinstance(classes, list):
            classes = tuple(classes)
        column = fields.get("column")
        column = name if column is None else column
        return Column(name, column, fields.get("kind"), classes, fields.get("separator"))

    def _check_column(self, column: Column) -> None:
        where = f"features.{column.name}"
        if not isinstance(column.name, str) or not column.name:
            self._refuse("features", f"expected a name, got {column.name!r} (quote a number)")
        at = column.column
        if isinstance(at, bool) or not isinstance(at, int | str) or at == "":
            self._refuse(where, f"expected a column, got {at!r}")
        if column.kind is not None and column.kind not in FEATURE_KINDS:
            self._refuse(
                where, f"unknown kind {column.kind!r}{suggestion(column.kind, FEATURE_KINDS)}"
            )
        classes = column.classes
        if isinstance(classes, tuple):
            if not all(isinstance(name, str) for name in classes):
                self._refuse(where, f"classes {list(classes)} are not all texts: quote them")
            if len(set(classes)) < len(classes):
                self._refuse(where, f"a class appears twice in {list(classes)}")
        elif not isinstance(classes, str):
            self._refuse(where, f"classes {classes!r} are neither a list nor the name of a file")
        if classes and column.kind not in (None, "label", "tags"):
            self._refuse(where, f"a {column.kind} has no classes")
        if column.separator is not None:
            if not isinstance(column.separator, str) or not column.separator:
                self._refuse(where, f"expected a text as separator, got {column.separator!r}")
            if column.kind not in ("tokens", "tags", "numbers"):
                self._refuse(where, "a separator needs kind tokens, tags or numbers")

    def _checked_format(self) -> str:
        if self.dataset is not None:
            if self.format not in ("", "tfds"):
                self._refuse("format", f"{self.format!r}, but 'dataset' names a set in TFDS format")
            return "tfds"
        if self.format and self.format not in FORMATS:
            self._refuse(
                "format", f"unknown format {self.format!r}{suggestion(self.format, FORMATS)}"
            )
        if self.format == "tfds":
            self._refuse("dataset", "missing: a source of format tfds names its set there")
        files = [parse_slices(part)[0].name for _, parts in self.splits for part in parts]
        files = list(dict.fromkeys(file or self.path or "" for file in files))
        if not files:
            if self.path is None:
                self._refuse("splits", "missing: name the files, or a path or dataset")
            files = [self.path]
        if self.format:
            return self.format
        formats = {format_of(file) for file in files}
        if len(formats) > 1:
            self._refuse("format", "missing: the files end in different ways")
        (by_ending,) = formats
        if by_ending is None:
            self._refuse(
                "format", f"missing: the ending of {files[0]!r} does not tell (known: "
                f"{', '.join(FORMATS[1:])})"
            )  # fmt: skip
        return by_ending


FIELDS: tuple[str, ...] = tuple(f.name for f in dataclasses.fields(Dataset) if f.name != "name")
"""The fields of a source in a tasks file."""


def format_of(file: str) -> str | None:
    """The format of a file by its ending; None where it does not tell.

    >>> format_of("train.jsonl.gz"), format_of("train.csv.zst"), format_of("train")
    ('jsonl', 'csv', None)
    """
    return ENDINGS.get(os.path.splitext(without_packed_ending(file))[1].lower())


def without_packed_ending(file: str) -> str:
    """The name of a file without the endings that only say how it is packed.

    >>> without_packed_ending("dev.conllu.xz")
    'dev.conllu'
    """
    for packed in PACKED_ENDINGS:
        file = file.removesuffix(packed)
    return file


def parse_dataset(name: Any, fields: Any) -> Dataset:
    """Reads one entry of `sources` in a tasks file.

    Raises:
        UserError: with the source and the field, for anything that is wrong with it.
    """
    if not isinstance(fields, Mapping):
        raise UserError(f"source {name!r}: expected fields such as path, splits, features")
    for field in fields:
        if field not in FIELDS:
            raise UserError(
                f"source {name!r}, field {field!r}: unknown field{suggestion(field, FIELDS)}"
            )
    # A field with nothing after the colon means its default.
    return Dataset(name, **{key: value for key, value in fields.items() if value is not None})


def dump_dataset(dataset: Dataset) -> dict[str, Any]:
    """The entry of a tasks file that `parse_dataset` reads back to an equal data set."""
    defaults = {f.name: f.default for f in dataclasses.fields(Dataset)}
    content: dict[str, Any] = {}
    for field in FIELDS:
        value = getattr(dataset, field)
        if value == defaults[field]:
            continue
        if field == "splits":
            value = {split: parts[0] if len(parts) == 1 else list(parts) for split, parts in value}
        elif field == "features":
            value = {column.name: _dump_column(column) for column in value}
        content[field] = value
    return content


def _dump_column(column: Column) -> Any:
    if column.kind is None and not column.classes and column.separator is None:
        return column.column
    classes = list(column.classes) if isinstance(column.classes, tuple) else column.classes
    fields = {
        "column": column.column,
        "kind": column.kind,
        "classes": classes,
        "separator": column.separator,
    }
    return {key: value for key, value in fields.items() if value not in (None, [])}


def with_absolute_paths(dataset: Dataset, directory: Path) -> Dataset:
    """The data set with the relative paths that exist in a directory made absolute.

    Args:
        dataset: a description in a tasks file.
        directory: the directory of the tasks file.
    """
    changes: dict[str, Any] = {}
    if dataset.path is not None:
        path = _absolute_if_exists(directory, dataset.path)
        if path is not None:
            changes["path"] = path
    else:
        files = {parse_slices(part)[0].name for _, parts in dataset.splits for part in parts}
        if dataset.dataset is None and any(_absolute_if_exists(directory, file) for file in files):
            changes["path"] = str(directory.absolute())
    changes["features"] = tuple(
        dataclasses.replace(c, classes=_absolute_if_exists(directory, c.classes) or c.classes)
        if isinstance(c.classes, str)
        else c
        for c in dataset.features
    )
    return dataclasses.replace(dataset, **changes)


def _absolute_if_exists(directory: Path, path: str) -> str | None:
    joined = directory / os.path.expanduser(path)
    return str(joined.absolute()) if matching(directory, path) else None

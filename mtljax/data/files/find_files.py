"""Finding the files of a described data set."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mtljax.data.files.readers import Lines, open_file
from mtljax.data.sources.bad_rows import READ_ERRORS
from mtljax.errors import UserError, reason_of
from mtljax.tasks import Column, Dataset, Slice, parse_slices
from mtljax.tasks.matching import matching

SplitFiles = Mapping[str, Sequence[tuple[Slice, tuple[Path, ...]]]]
"""For each split its slices, each of the concatenated rows of some files."""

_Directory = str | os.PathLike[str] | None


def find_files(dataset: Dataset, data_dir: _Directory) -> SplitFiles:
    """Finds the files of a data set.

    Args:
        dataset: a description of files.
        data_dir: where relative paths are looked up, before the working directory.

    Returns:
        The files of each split; without declared splits, `path` as `train`.

    Raises:
        UserError: with source and split, if a file does not exist.
    """
    bases = [Path(data_dir)] if data_dir is not None else []
    bases.append(Path())
    # Splits are looked up in `folders`; a `path` that is a file is also a split without a name.
    folders, single = bases, None
    if dataset.path is not None:
        matches = [match for base in bases for match in matching(base, dataset.path)]
        if not matches:
            raise UserError(f"source {dataset.name!r}: no file {dataset.path!r}{_in(bases)}")
        single = None if matches[0].is_dir() else dataset.path
        folders = [matches[0] if matches[0].is_dir() else matches[0].parent]
    declared = dict(dataset.splits) or {"train": ("",)}
    split_files: dict[str, list[tuple[Slice, tuple[Path, ...]]]] = {}
    for split, texts in declared.items():
        split_files[split] = []
        for row_slice in (parse_slices(text)[0] if text else Slice("") for text in texts):
            # A slice without a name is of `path`, which is then a single file.
            name, places = (row_slice.name, folders) if row_slice.name else (single, bases)
            where = f"source {dataset.name!r}, split {split!r}"
            if name is None:
                raise UserError(f"{where}: {dataset.path!r} is a directory: name the files in it")
            paths = next((match for base in places if (match := matching(base, name))), [])
            if not paths:
                raise UserError(f"{where}: no file {name!r}{_in(places)}")
            for path in paths:
                if path.is_dir():
                    raise UserError(f"{where}: {str(path)!r} is a directory")
            split_files[split].append((row_slice, tuple(path.resolve() for path in paths)))
    return split_files


def _in(places: Sequence[Path]) -> str:
    return f" in {' or '.join(repr(str(place.absolute())) for place in places)}"


def declared_columns(dataset: Dataset, data_dir: _Directory) -> list[Column]:
    """The declared columns of a data set, with names of classes read from files where need be.

    Args:
        dataset: a description of files.
        data_dir: where relative paths are looked up, before the working directory.

    Raises:
        UserError: with source and feature, if such a file does not exist or cannot be read.
    """
    bases = [Path(data_dir)] if data_dir is not None else []
    # Lists of classes may lie next to the data, which an absolute path says.
    if dataset.path is not None and Path(dataset.path).is_absolute():
        bases.insert(0, Path(dataset.path))
        bases.insert(1, Path(dataset.path).parent)
    bases.append(Path())
    columns = []
    for column in dataset.features:
        if isinstance(column.classes, str):
            where = f"source {dataset.name!r}, feature {column.name!r}"
            paths = next((m for base in bases if (m := matching(base, column.classes))), [])
            if not paths:
                raise UserError(f"{where}: no file {column.classes!r}{_in(bases)}")
            try:
                with open_file(paths[0]) as file:
                    lines = Lines(file)
                    classes = tuple(line.strip() for line in lines if line.strip())
                    if lines.damaged:
                        raise ValueError(f"line {lines.damaged}: not UTF-8 text")
            except READ_ERRORS as error:
                reason = reason_of(error)
                raise UserError(f"{where}: {paths[0]}: cannot be read: {reason}") from None
            except ValueError as error:
                raise UserError(f"{where}: {paths[0]}: cannot be read: {error}") from None
            if not classes or len(set(classes)) < len(classes):
                problem = "a class appears twice" if classes else "names no class"
                raise UserError(f"{where}: {paths[0]}: {problem}")
            column = dataclasses.replace(column, classes=classes)
        columns.append(column)
    return columns

"""Where the files of a described data set lie."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mtljax.errors import UserError
from mtljax.tasks import Column, Dataset, Slice, parse_slices
from mtljax.tasks.dataset import matching

Parts = Mapping[str, Sequence[tuple[Slice, tuple[Path, ...]]]]
"""For each split the slices it is made of, each of the rows of some files in turn."""

_Directory = str | os.PathLike[str] | None


def find_files(dataset: Dataset, data_dir: _Directory) -> Parts:
    """Finds the files of a data set.

    Args:
        dataset: a description of files.
        data_dir: where relative paths are looked up, before the working directory.

    Returns:
        The parts of each split; without declared splits, `path` as `train`.

    Raises:
        UserError: with source and split, if a file is not there.
    """
    bases = [Path(data_dir)] if data_dir is not None else []
    bases.append(Path())
    folders, single = bases, None
    if dataset.path is not None:
        there = [found for base in bases for found in _matching(base, dataset.path)]
        if not there:
            raise UserError(f"source {dataset.name!r}: no file {dataset.path!r}{_in(bases)}")
        single = None if there[0].is_dir() else dataset.path
        folders = [there[0] if there[0].is_dir() else there[0].parent]
    given = dict(dataset.splits) or {"train": ("",)}
    parts: dict[str, list[tuple[Slice, tuple[Path, ...]]]] = {}
    for split, texts in given.items():
        parts[split] = []
        for piece in (parse_slices(text)[0] if text else Slice("") for text in texts):
            name, places = (piece.name, folders) if piece.name else (single, bases)
            where = f"source {dataset.name!r}, split {split!r}"
            if name is None:
                raise UserError(f"{where}: {dataset.path!r} is a directory: name the files in it")
            found = next((match for base in places if (match := _matching(base, name))), [])
            if not found:
                raise UserError(f"{where}: no file {name!r}{_in(places)}")
            for path in found:
                if path.is_dir():
                    raise UserError(f"{where}: {str(path)!r} is a directory")
            parts[split].append((piece, tuple(path.resolve() for path in found)))
    return parts


def _matching(base: Path, name: str) -> list[Path]:
    try:
        return matching(base / Path(name).expanduser())
    except RuntimeError:  # no such user's home
        return []


def _in(places: Sequence[Path]) -> str:
    return f" in {' or '.join(repr(str(place.absolute())) for place in places)}"


def declared_columns(dataset: Dataset, data_dir: _Directory) -> list[Column]:
    """The declared columns of a data set, with the names of classes that lie in files.

    Raises:
        UserError: with source and feature, if such a file is not there or cannot be read.
    """
    bases = [Path(data_dir)] if data_dir is not None else []
    if dataset.path is not None and Path(dataset.path).is_absolute():
        bases.insert(0, Path(dataset.path))
        bases.insert(1, Path(dataset.path).parent)
    bases.append(Path())
    columns = []
    for column in dataset.features:
        if isinstance(column.classes, str):
            where = f"source {dataset.name!r}, feature {column.name!r}"
            found = next((m for base in bases if (m := _matching(base, column.classes))), [])
            if not found:
                raise UserError(f"{where}: no file {column.classes!r}{_in(bases)}")
            try:
                lines = found[0].read_text(encoding="utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(f"{where}: {found[0]}: cannot be read: {error}") from None
            classes = tuple(line.strip() for line in lines if line.strip())
            if not classes or len(set(classes)) < len(classes):
                problem = "a class appears twice" if classes else "names no class"
                raise UserError(f"{where}: {found[0]}: {problem}")
            column = dataclasses.replace(column, classes=classes)
        columns.append(column)
    return columns

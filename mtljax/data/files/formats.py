"""File formats: how the records of a file are read, and where a feature lies in a record."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from mtljax.data.files.readers import (
    Lines,
    Record,
    conll_layout,
    flat,
    open_file,
    open_json,
    pluck,
    quoted_columns,
    read_conll,
    read_jsonl,
    read_table,
    read_text,
)
from mtljax.tasks import Dataset, suggestion
from mtljax.tasks.dataset import without_packed_ending


class Opened(NamedTuple):
    """How one file is read.

    Attributes:
        records: from lines, which begin at the start of the file or after any record, to records.
        columns: from a record's values to the names and values of its columns, as far as they have
            names.
        get: from a column to the function that takes its value out of a record's values. Raises
            ValueError if there is no such column.
        cells: whether all values are texts, as in a table.
        open: opens the file, whose lines `records` reads. Raises ValueError if it is no text.
    """

    records: Callable[[Lines], Iterator[Record]]
    columns: Callable[[Any], Iterable[tuple[str, Any]]]
    get: Callable[[str | int], Callable[[Any], Any]]
    cells: bool = False
    open: Callable[[Path], IO[bytes]] = open_file


_SAMPLE = 1000  # rows of a table that tell whether quotes are read


def _jsonl(dataset: Dataset, path: Path) -> Opened:
    def get(column: str | int) -> Callable[[Any], Any]:
        if isinstance(column, int):
            raise ValueError(f"column {column}: JSON objects have names, not numbers")
        return lambda values: pluck(values, column)

    return Opened(read_jsonl, flat, get, open=open_json)


def _table(dataset: Dataset, path: Path) -> Opened:
    separator = dataset.separator or ("," if dataset.format == "csv" else "\t")
    quotes = dataset.format == "csv" if dataset.quotes is None else dataset.quotes
    options = {"escape": dataset.escape, "skip_blanks": bool(dataset.skip_blanks)}
    # The first row gives the names of the columns, or at least their number.
    with open_file(path) as file:
        begin = read_table(Lines(file), separator, quotes, **options)
        first = next(begin, None)
        rows = [row.values for row in itertools.islice(begin, _SAMPLE) if row.problem is None]
    if first is not None and first.problem is not None:
        raise ValueError(f"line {first.line}: {first.problem}")
    cells: list[str] = [] if first is None else first.values
    if quotes and dataset.skip_blanks is None:
        rows = rows if dataset.header else [cells, *rows]
        if quoted := quoted_columns([row for row in rows if len(row) == len(cells)]):
            raise ValueError(
                f"column {quoted[0]} has blanks before its quotes: give the source skip_blanks: "
                "true to leave them out, or false where both belong to the texts"
            )
    names = [name.strip() for name in cells] if dataset.header else []
    for name in names:
        if name and names.count(name) > 1:
            raise ValueError(f"line 1: column {name!r} appears twice")

    def records(lines: Lines) -> Iterator[Record]:
        at_start = lines.offset == 0
        rows = read_table(lines, separator, quotes, len(cells), **options)
        if dataset.header and at_start:
            next(rows, None)
        yield from rows

    def get(column: str | int) -> Callable[[Any], Any]:
        if isinstance(column, str):
            # An empty file has no columns to compare with, and no rows either.
            if column not in names and cells:
                close = suggestion(column, filter(None, names))
                raise ValueError(f"no column {column!r}{close}")
            column = names.index(column) if cells else 0
        elif cells and not -len(cells) <= column < len(cells):
            raise ValueError(f"no column {column} among its {len(cells)}")
        return lambda values: values[column]

    def columns(values: list[str]) -> Iterator[tuple[str, str]]:
        for name, value in zip(names, values, strict=bool(names)):
            if name:
                yield name, value

    return Opened(records, columns, get, cells=True)


def _conll(dataset: Dataset, path: Path) -> Opened:
    columns = [feature.column for feature in dataset.features]
    numbers = [column for column in columns if isinstance(column, int)]
    name = without_packed_ending(path.name)
    with open_file(path) as file:
        layout = conll_layout(
            Lines(file), dataset.separator, dataset.comments, numbers, name.endswith(".conllu")
        )
    at: dict[str | int, int] = {number: number for number in numbers}
    for feature in dataset.features:
        if isinstance(feature.column, str):
            if feature.column not in layout.names:
                close = suggestion(feature.column, layout.names[:20]) if layout.names else ""
                raise ValueError(
                    f"feature {feature.name!r}: give the number of its column, not "
                    f"{feature.column!r}{close}"
                )
            at[feature.column] = layout.names.index(feature.column)
    read = list(at.values())

    def records(lines: Lines) -> Iterator[Record]:
        return read_conll(lines, read, layout, dataset.separator, dataset.comments)

    def get(column: str | int) -> Callable[[Any], Any]:
        index = read.index(at[column])
        return lambda values: values[index]

    return Opened(records, lambda values: (), get)


def _text(dataset: Dataset, path: Path) -> Opened:
    def get(column: str | int) -> Callable[[Any], Any]:
        if column != "text":
            raise ValueError(f"no column {column!r}: plain text has one, 'text'")
        return lambda values: values

    return Opened(
        lambda lines: read_text(lines, dataset.paragraphs), lambda text: [("text", text)], get
    )


OPENERS: dict[str, Callable[[Dataset, Path], Opened]] = {
    "jsonl": _jsonl,
    "csv": _table,
    "tsv": _table,
    "conll": _conll,
    "text": _text,
}
"""For each format the function that finds out how a file of it is read."""

"""CoNLL columns: one token a line, an empty line after each sentence."""

import re
from collections.abc import Iterator, Sequence

from mtljax.data.files.readers.lines import Lines, Record

_RANGE = re.compile(r"\d+[-.]\d+")


def read_conll(
    lines: Lines,
    columns: Sequence[int],
    separator: str | None = None,
    comments: str = "# ",
    word_ids: bool = False,
) -> Iterator[Record]:
    """Reads sentences; lines that begin with `-DOCSTART-` are skipped.

    Args:
        lines: lines of the file.
        columns: numbers of the columns that are read, from 0, or negative from the last.
        separator: between columns; None for tabs where a line has any, else blanks.
        comments: how a line begins, before the first token of a sentence, that is none of its
            tokens; empty for no comments.
        word_ids: whether the first column numbers the words as in CoNLL-U; ranges (`1-2`) and empty
            words (`1.1`) are skipped.

    Yields:
        Records whose values are one list of str for each of `columns`.
    """
    sentence: list[list[str]] = [[] for _ in columns]
    first, malformed = 0, None
    for line in lines:
        text = line.strip("\r\n")
        if not text.strip(" \t"):
            if first:
                yield malformed or Record(first, sentence)
            sentence, first, malformed = [[] for _ in columns], 0, None
            continue
        if text.startswith("-DOCSTART-") or (comments and not first and text.startswith(comments)):
            continue
        cells = _cells(text, separator)
        if word_ids and _RANGE.fullmatch(cells[0]):
            continue
        first = first or lines.number
        for column, values in zip(columns, sentence, strict=True):
            if -len(cells) <= column < len(cells):
                values.append(cells[column])
            elif malformed is None:
                problem = f"no column {column} among its {len(cells)}"
                malformed = Record(lines.number, None, problem)
    if first:
        yield malformed or Record(first, sentence)


def _cells(text: str, separator: str | None) -> list[str]:
    if separator is not None:
        return text.split(separator)
    if "\t" in text:
        return [cell.strip(" ") for cell in text.split("\t")]
    return [cell for cell in text.split(" ") if cell]

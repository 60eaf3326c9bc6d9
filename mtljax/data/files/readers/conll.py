"""CoNLL columns: one token a line, an empty line after each sentence."""

from collections.abc import Iterator, Sequence

from mtljax.data.files.readers.conll_layout import (
    ConllLayout,
    is_document_start,
    split_columns,
)
from mtljax.data.files.readers.lines import Lines, Record

_UNCLEAR = "a comment or a word with other columns; if such lines are comments, say comments: '#'"


def read_conll(
    lines: Lines,
    columns: Sequence[int],
    layout: ConllLayout,
    separator: str | None = None,
    comments: str | None = None,
) -> Iterator[Record]:
    """Reads sentences. Lines that begin with `-DOCSTART-` are skipped; a sentence ends before them.

    Args:
        lines: lines of the file.
        columns: numbers of the columns that are read, from 0, or negative from the last.
        layout: of the file, from `conll_layout`.
        separator: between columns; None for tabs where a line has any, else blanks.
        comments: how a line begins that is none of the tokens of a sentence; empty for no comments;
            None for `#`, where the line does not have the columns of a token.

    Yields:
        Records whose values are one list of str for each of `columns`. A sentence with a line of
        another number of columns than the file has is malformed.
    """
    sentence: list[list[str]] = [[] for _ in columns]
    first, width, malformed = 0, None, None
    word_lines: list[int] = []
    mark = "#" if comments is None else comments
    for line in lines:
        text = line.strip("\r\n")
        if not text.strip(" \t") or is_document_start(text):
            if first:
                yield malformed or Record(first, sentence, None, word_lines)
            sentence, first, width, malformed = [[] for _ in columns], 0, None, None
            word_lines = []
            continue
        cells = split_columns(text, separator)
        # Separators at the end of a line are no columns.
        while layout.width is not None and len(cells) > layout.width and not cells[-1].strip():
            cells.pop()
        problem = None
        if mark and text.startswith(mark):
            kind = layout.line_kind(text, cells, width, comments)
            if kind == "comment":
                continue
            problem = None if kind == "word" else _UNCLEAR
        if layout.word_ids and not layout.is_word(cells):
            continue
        first = first or lines.number
        word_lines.append(lines.number)
        if not (problem or len(cells) == layout.width and (not layout.tabs or "\t" in text)):
            problem = layout.problem(text, cells, width)
        width = width or len(cells)
        for column, values in zip(columns, sentence, strict=True):
            if -len(cells) <= column < len(cells):
                values.append(cells[column])
            else:
                problem = f"no column {column} among its {len(cells)}"
        if problem is not None and malformed is None:
            malformed = Record(lines.number, None, problem)
    if first:
        yield malformed or Record(first, sentence, None, word_lines)

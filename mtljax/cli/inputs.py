"""Texts from a file or stdin: one a line, or the rows of a table or of CoNLL columns."""

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mtljax.errors import UserError, reason_of

if TYPE_CHECKING:
    from mtljax.tasks import Task

Line = str | list[str] | dict[str, str | list[str]]
"""A text, the list of its words, or texts and lists by the names of features."""


class InputText(NamedTuple):
    """A text of a file.

    Attributes:
      line: the number of its line.
      text: a text, the list of its words, or texts and lists by the names of features.
      row: the line as it stands, or of a table or CoNLL the values by the names of columns.
    """

    line: int
    text: Any
    row: Any


def read_texts(source: str, tasks: "Sequence[Task]" = ()) -> Iterator[InputText]:
    """Read texts, one a line, or a table or CoNLL file as the data sets of a run were read.

    A line is a JSON string, an object ``{"text": "..."}`` or ``{"tokens": ["...", ...]}``, or one
    with texts by the names of features, ``{"premise": "...", "hypothesis": "..."}``; a line that
    begins with none of ``"``, ``{`` and ``[`` is a text as it stands. The items of a JSON array in
    a file of JSON are lines. In a ``.txt`` file only objects are JSON. Bytes that are no UTF-8
    become U+FFFD. The source is opened at once, its lines are read when they are asked for.

    Args:
      source: path of a file; ``-`` for stdin.
      tasks: tasks of a run that read it; without them a table is read by lines too.

    Returns:
      An iterator over the texts; empty lines are empty texts, but for empty lines in tables and
      CoNLL columns, which are skipped.

    Raises:
      UserError: with file and line, for a line that is none of these.
    """
    if source == "-":
        return _texts(contextlib.nullcontext(_stdin()), "stdin", parse_line)
    # Imported here, since a text on the command line needs none of it.
    from mtljax.data.files.readers import open_file, open_json
    from mtljax.data.sources.bad_rows import READ_ERRORS
    from mtljax.inference.input_rows import has_rows, read_rows
    from mtljax.tasks.dataset import format_of

    if tasks and has_rows(source, tasks):
        return (
            InputText(row.line, row.texts, row.columns or row.texts)
            for row in read_rows(source, tasks)
        )
    known = format_of(source)
    try:
        file = (open_json if known == "jsonl" else open_file)(Path(source))
    except READ_ERRORS as error:
        raise UserError(f"--input {source}: {reason_of(error)}") from None
    except ValueError as error:
        raise UserError(f"--input {source}: {error}") from None
    return _texts(file, source, parse_argument if known == "text" else parse_line)


def _texts(source: Any, name: str, parse: Callable[[str], Line]) -> Iterator[InputText]:
    from mtljax.data.files.readers import Lines
    from mtljax.data.sources.bad_rows import READ_ERRORS

    with source as file:
        lines = Lines(file)
        while True:
            try:
                line = next(lines, None)
            except (*READ_ERRORS, ValueError) as error:
                raise UserError(f"{name}:{lines.number + 1}: {reason_of(error)}") from None
            if line is None:
                return
            text = line.removeprefix("\ufeff") if lines.number == 1 else line
            text = text.rstrip("\r\n")
            try:
                yield InputText(lines.number, parse(text), text)
            except ValueError as error:
                raise UserError(f"{name}:{lines.number}: {error}") from None


def _stdin() -> Any:
    from mtljax.data.files.readers import decoded

    binary = getattr(sys.stdin, "buffer", None)
    if binary is None:
        return io.BytesIO(sys.stdin.read().encode("utf-8", "surrogatepass"))
    try:
        return decoded(binary) if hasattr(binary, "peek") else binary
    except ValueError as error:
        raise UserError(f"stdin: {error}") from None


def parse_line(line: str) -> Line:
    r"""Read one line.

    Args:
      line: the line without its end.

    Returns:
      A text or a list of words; for an object with other names than ``text`` or ``tokens``, all
      of its texts and lists of words by their names, nested ones by dotted paths.

    Raises:
      ValueError: if it is none of these.

    >>> parse_line("plain text"), parse_line('"a\\tb"'), parse_line('{"tokens": ["a", "b"]}')
    ('plain text', 'a\tb', ['a', 'b'])
    """
    if not line.lstrip().startswith(('"', "{", "[")):
        return line
    try:
        value = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} (column {error.colno})") from None
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        from mtljax.data.files.readers import flat

        texts = {name: text for name, text in flat(value) if _is_text(text)}
        if texts:
            (name, text), *others = texts.items()
            return text if not others and name in ("text", "tokens") else texts
    raise ValueError(
        'expected a string, {"text": "..."}, {"tokens": [...]} or {FEATURE: "...", ...}'
    )


def parse_argument(text: str) -> Line:
    """Read a text from the command line: an object as `parse_line` does, else the text as it is.

    >>> (
    ...     parse_argument('{"premise": "a", "hypothesis": "b"}'),
    ...     parse_argument('"a"'),
    ...     parse_argument("{"),
    ... )
    ({'premise': 'a', 'hypothesis': 'b'}, '"a"', '{')
    """
    if not text.lstrip().startswith("{"):
        return text
    try:
        return parse_line(text)
    except ValueError:
        return text


def _is_text(value: Any) -> bool:
    if isinstance(value, str):
        return True
    return isinstance(value, list) and all(isinstance(word, str) for word in value)

"""Texts from a file or stdin, one a line."""

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Any

from mtljax.errors import UserError

Line = str | list[str] | dict[str, str | list[str]]
"""A text, the list of its words, or texts and lists by the names of features."""


def read_texts(source: str) -> Iterator[Line]:
    """Read texts, one a line.

    A line is a JSON string, an object ``{"text": "..."}`` or ``{"tokens": ["...", ...]}``, or one
    with texts by the names of features, ``{"premise": "...", "hypothesis": "..."}``; a line that
    begins with none of ``"``, ``{`` and ``[`` is a text as it stands. Bytes that are no UTF-8
    become U+FFFD. The source is opened at once, its lines are read when they are asked for.

    Args:
      source: path of a file; ``-`` for stdin.

    Returns:
      An iterator over the texts, lists of words and objects; empty lines are empty texts.

    Raises:
      UserError: with file and line, for a line that is none of these.
    """
    if source == "-":
        stdin = getattr(sys.stdin, "buffer", sys.stdin)
        return _texts(contextlib.nullcontext(stdin), "stdin")
    try:
        file = open(source, "rb")  # noqa: SIM115 - read lazily, closed by the generator
    except OSError as error:
        raise UserError(f"--input {source}: {error.strerror or error}") from None
    return _texts(file, source)


def _texts(source: Any, name: str) -> Iterator[Line]:
    with source as file:
        number = 0
        while True:
            try:
                line = file.readline()
            except OSError as error:
                raise UserError(f"{name}:{number + 1}: {error.strerror or error}") from None
            if not line:
                return
            number += 1
            text = line if isinstance(line, str) else line.decode("utf-8", errors="replace")
            text = text.removeprefix("\ufeff") if number == 1 else text
            try:
                yield parse_line(text.rstrip("\r\n"))
            except ValueError as error:
                raise UserError(f"{name}:{number}: {error}") from None


def parse_line(line: str) -> Line:
    r"""Read one line.

    Args:
      line: the line without its end.

    Returns:
      A text or a list of words; for an object with other names than ``text`` or ``tokens``, all
      of its texts and lists of words by their names.

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
        texts = {name: text for name, text in value.items() if _is_text(text)}
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

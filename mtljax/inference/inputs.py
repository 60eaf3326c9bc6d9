"""Selects each task's inputs from a user's text or mapping."""

from collections.abc import Mapping, Sequence
from typing import Any

from mtljax.data.files.list_cells import split_cell
from mtljax.data.files.readers import pluck
from mtljax.data.tokenizers import Text
from mtljax.errors import UserError
from mtljax.tasks import Column, Task

UserInput = Text | Mapping[str, Text]
"""What a user asks about: a text, the list of its words, or texts by the names of features."""

TaskInput = Text | tuple[Text, ...]
"""What one input group reads: a text, or one for each of its parts."""

_ANY_NAME = ("text", "tokens")


def checked_inputs(texts: Sequence[UserInput]) -> list[UserInput]:
    """The texts as a list, each of a type that can be read.

    Raises:
      TypeError: naming the first that is not.
    """
    if isinstance(texts, str | Mapping):
        raise TypeError(f"expected a list of texts, got one {_type(texts)}")
    checked = list(texts)
    for i, text in enumerate(checked):
        parts = text.values() if isinstance(text, Mapping) else [text]
        for part in parts:
            if not (_is_text(part) or isinstance(text, Mapping) and _is_nested(part)):
                expected = "a str, a list of str or a mapping of names to them"
                raise TypeError(f"text {i}: expected {expected}, got {_type(part)}")
    return checked


def _is_text(value: Any) -> bool:
    if isinstance(value, str):
        return True
    return isinstance(value, Sequence) and all(isinstance(word, str) for word in value)


def _is_nested(value: Any) -> bool:
    # What no task reads of it need not be text.
    if isinstance(value, list | tuple):
        return any(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping)


def _type(value: Any) -> str:
    return "text" if isinstance(value, str) else type(value).__name__


def select_input(task: Task, text: UserInput, *, named: bool) -> TaskInput | None:
    """Select what a task reads of a text.

    A text without a name is read by every task of one input. Of a mapping a feature is what lies
    where the data sets of the task declare its column, which may be a dotted path, or else under
    its own name; for a task of one input, or else under `text` or `tokens`.

    Args:
      task: the task that reads.
      text: the text, or texts by the names of features.
      named: whether the user named the task, so that it has to answer.

    Returns:
      The input of the task, or None where it was not named and has nothing to read.

    Raises:
      UserError: naming the task and what is missing, if it was named, or if only some of its
        inputs are there.
    """
    parts = task.parts
    if not isinstance(text, Mapping):
        if len(parts) == 1:
            return text
        missing = list(parts)
    elif len(parts) == 1:
        for name in (*parts, *_ANY_NAME):
            found = _feature(task, text, name)
            if found is not None:
                return found
        missing = list(parts)
    else:
        features = {name: _feature(task, text, name) for name in parts}
        missing = [name for name, found in features.items() if found is None]
        if not missing:
            return tuple(found for found in features.values() if found is not None)
    if not named and len(missing) == len(parts):
        return None
    wanted = ", ".join(f'"{name}": ...' for name in parts)
    lacks = " and ".join(map(repr, missing))
    shown = ascii(text)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    raise UserError(f"task {task.name!r}: text {shown} has no {lacks}; expected {{{wanted}}}")


def _feature(task: Task, text: Mapping[str, Any], name: str) -> Text | None:
    """What a mapping has as a feature of a task: in its declared column, or under its name."""
    for column in (*declared_columns(task, name), Column(name, name)):
        path = column.column
        # A column that is called as another input of the task may be meant as that one.
        if isinstance(path, int) or (path != name and path in task.parts and name in text):
            continue
        value = pluck(dict(text), path)
        if _is_text(value):
            try:
                return as_declared(value, column)
            except ValueError as error:
                raise UserError(f"task {task.name!r}: {error}") from None
    return None


def declared_columns(task: Task, name: str) -> list[Column]:
    """Where the data sets of a task declare a feature to be, without repetition."""
    columns = [c for source in task.sources for c in source.features if c.name == name]
    return list(dict.fromkeys(columns))


def as_declared(text: Text, column: Column) -> Text:
    """A text as its declared kind has it: tokens in one text are split as in training.

    Raises:
      ValueError: if it is no list of texts.
    """
    if column.kind != "tokens" or not isinstance(text, str):
        return text
    words = split_cell(text, column.separator)
    if not all(isinstance(word, str) for word in words):
        raise ValueError(f"feature {column.name!r}: expected a list of texts")
    return words

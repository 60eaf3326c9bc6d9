"""Selects each task's inputs from a user's text or mapping."""

from collections.abc import Mapping, Sequence
from typing import Any

from mtljax.data.tokenizers import Text
from mtljax.errors import UserError
from mtljax.tasks import Task

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
            if not _is_text(part):
                expected = "a str, a list of str or a mapping of names to them"
                raise TypeError(f"text {i}: expected {expected}, got {_type(part)}")
    return checked


def _is_text(value: Any) -> bool:
    if isinstance(value, str):
        return True
    return isinstance(value, Sequence) and all(isinstance(word, str) for word in value)


def _type(value: Any) -> str:
    return "text" if isinstance(value, str) else type(value).__name__


def select_input(task: Task, text: UserInput, *, named: bool) -> TaskInput | None:
    """Select what a task reads of a text.

    A text without a name is read by every task of one input. Of a mapping such a task reads the
    text under the name of its feature, or else under `text` or `tokens`.

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
            if name in text:
                return text[name]
        missing = list(parts)
    else:
        missing = [name for name in parts if name not in text]
        if not missing:
            return tuple(text[name] for name in parts)
    if not named and len(missing) == len(parts):
        return None
    wanted = ", ".join(f'"{name}": ...' for name in parts)
    lacks = " and ".join(map(repr, missing))
    shown = ascii(text)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    raise UserError(f"task {task.name!r}: text {shown} has no {lacks}; expected {{{wanted}}}")

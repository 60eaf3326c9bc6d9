"""The special ids of a vocabulary: the first four of our own tokenizers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

PAD, OOV, START, END = range(4)
"""Padding of a row; a word out of the vocabulary; the start of a text; its end, which also stands
between a source and its answer."""

SPECIALS = ("<pad>", "<oov>", "<s>", "</s>")
"""How the four are written."""


class Marks(NamedTuple):
    """The special ids of a vocabulary, and those that stand around a text.

    Attributes:
      pad: padding of a row.
      unknown: a word out of the vocabulary.
      start: the start of a text, the first of `prefix`; where texts begin with no mark, that of an
        answer.
      end: its end; between two texts the first of `between`.
      prefix: ids before a text; none where texts begin with no mark, as those of T5.
      between: ids between the texts of an input of several.
      suffix: ids after a text that is not continued.
    """

    pad: int = PAD
    unknown: int = OOV
    start: int = START
    end: int = END
    prefix: tuple[int, ...] = (START,)
    between: tuple[int, ...] = (END,)
    suffix: tuple[int, ...] = ()

    @property
    def answer(self) -> tuple[int, ...]:
        """Ids between a source and its answer, of which the last is the first that writes."""
        return (self.end,) if self.prefix else (self.end, self.start)


OWN_MARKS = Marks()
"""Those of our own tokenizers."""


def marks_from_json(content: Mapping[str, Any]) -> Marks:
    """Marks from what `Marks._asdict` makes, written as JSON and read again."""
    values: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
    return Marks(**values)

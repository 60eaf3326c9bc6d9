"""What every tokenizer offers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from mtljax.errors import UserError

Text = str | Sequence[str]
"""A text, or the list of its words."""

PAD, OOV, START, END = range(4)
SPECIALS = ("<pad>", "<oov>", "<s>", "</s>")
"""The first four ids of every tokenizer: padding, unknown word, start and end of a text."""


@dataclass(frozen=True)
class TokenizerSettings:
    """How text becomes ids.

    Attributes:
        kind: `words` (a vocabulary of words, the others are `<oov>`) or `bpe` (byte-level pairs).
        lowercase: whether capitals are lower-cased first.
        num_words: words in the vocabulary at most, the most frequent ones (`words` only).
        min_count: times a word must be seen within one data set to enter (`words` only).
        prefixes: lengths of the prefixes that are hashed beside each word (`words` only).
        suffixes: lengths of the suffixes that are hashed beside each word (`words` only).
        shape: whether the shape (capitals, digits, marks) is hashed too (`words` only).
        affix_buckets: number of hash values, shared by prefixes, suffixes and shapes.
        vocab_size: pieces in the vocabulary, the four special ones and 256 bytes among them
            (`bpe` only).

    Raises:
        UserError: with the name of the setting that is out of range.
    """

    kind: Literal["words", "bpe"] = "words"
    lowercase: bool = True
    num_words: int = 50_000
    min_count: int = 2
    prefixes: tuple[int, ...] = (2, 3)
    suffixes: tuple[int, ...] = (2, 3)
    shape: bool = True
    affix_buckets: int = 8192
    vocab_size: int = 8000

    def __post_init__(self) -> None:
        if self.kind not in ("words", "bpe"):
            raise UserError(f"tokenizer kind {self.kind!r}: expected 'words' or 'bpe'")
        least = {"num_words": 1, "min_count": 1, "affix_buckets": 1}
        least["vocab_size"] = len(SPECIALS) + 256
        for name, low in least.items():
            _whole_number(name, getattr(self, name), low)
        for name in ("prefixes", "suffixes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            for length in getattr(self, name):
                _whole_number(name, length, 1)

    @property
    def affixes(self) -> int:
        """Number `A` of hashed affixes beside each word."""
        if self.kind != "words":
            return 0
        return len(self.prefixes) + len(self.suffixes) + bool(self.shape)


def _whole_number(name: str, value: Any, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise UserError(f"tokenizer {name}: expected a whole number from {low}, got {value!r}")


@dataclass(frozen=True)
class Encodings:
    """Several texts as ids, one after another; each begins with `<s>`.

    Attributes:
        tokens: int32 `[n]`, ids.
        affixes: int32 `[n, A]`, hashed affixes from 1; 0 where there is none.
        words: int32 `[n]`, which word of its list a piece begins; -1 at `<s>`, at later pieces, and
            where a str was given whose words the tokenizer does not know.
        starts: int64 `[texts + 1]`, where each text starts, and the end of the last one.
    """

    tokens: np.ndarray
    affixes: np.ndarray
    words: np.ndarray
    starts: np.ndarray


@runtime_checkable
class Tokenizer(Protocol):
    """Turns texts into ids and back."""

    @property
    def settings(self) -> TokenizerSettings:
        """The settings it was trained with."""
        ...

    @property
    def pieces(self) -> Sequence[str]:
        """What each id stands for, `[vocab_size]`."""
        ...

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        ...

    def encode(self, texts: Sequence[Text], max_length: int | None = None) -> Encodings:
        """Encodes texts.

        Args:
            texts: each a str, which the tokenizer splits, or a list of words, whose pieces are
                aligned with them. Anything goes: empty, NUL, lone surrogates, a million characters.
            max_length: ids per text at most, `<s>` among them.

        Returns:
            The ids of all texts.
        """
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, without special ones."""
        ...

    def to_json(self) -> dict[str, Any]:
        """What `load_tokenizer` needs."""
        ...

"""The protocol of tokenizers, and the texts as ids that they return."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mtljax.data.tokenizers.settings import TokenizerSettings
from mtljax.special_tokens import Marks

Text = str | Sequence[str]
"""A text, or the list of its words."""


@dataclass(frozen=True)
class Encodings:
    """Texts as ids, concatenated to `n` ids; each text begins with `<s>`, or what it is instead.

    Attributes:
        tokens: int32 `[n]`, ids.
        affixes: int32 `[n, A]`, hashed affixes from 1, 0 where there is none; then the characters
            of the word, four in a number.
        words: int32 `[n]`, the index in its list of the word that a piece begins; -1 at `<s>`, at
            later pieces, at spaces between words, and in a str unless pieces are words.
        starts: int64 `[texts + 1]`, where each text starts, and the end of the last one.
    """

    tokens: np.ndarray
    affixes: np.ndarray
    words: np.ndarray
    starts: np.ndarray


@runtime_checkable
class Tokenizer(Protocol):
    """Encodes texts as ids, and decodes ids to texts."""

    @property
    def settings(self) -> TokenizerSettings:
        """The settings it was trained with."""
        ...

    @property
    def pieces(self) -> Sequence[str]:
        """The text that each id stands for, `[vocab_size]`."""
        ...

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of settings and training texts, or of the model where these are not known."""
        ...

    @property
    def marks(self) -> Marks:
        """Its special ids; what follows a text, their `suffix`, is not among what it encodes."""
        ...

    def encode(self, texts: Sequence[Text], max_length: int | None = None) -> Encodings:
        """Encodes texts.

        Args:
            texts: each a str, which the tokenizer splits, or a list of words, each of which has at
                least one piece. Any text is allowed: empty, NUL, lone surrogates, a million
                characters.
            max_length: ids of a text at most, including `<s>`; None for no limit.

        Returns:
            The ids of all texts.
        """
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, without special ones."""
        ...

    def to_json(self) -> dict[str, Any]:
        """All that `load_tokenizer` needs besides settings and fingerprint."""
        ...

"""What every tokenizer offers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mtljax.data.tokenizers.settings import TokenizerSettings

Text = str | Sequence[str]
"""A text, or the list of its words."""


@dataclass(frozen=True)
class Encodings:
    """Several texts as ids, one after another; each begins with `<s>`.

    Attributes:
        tokens: int32 `[n]`, ids.
        affixes: int32 `[n, A]`, hashed affixes from 1; 0 where there is none.
        words: int32 `[n]`, which word of its list a piece begins; -1 at `<s>`, at later pieces, at
            spaces between words, and where a str was given whose words the tokenizer does not know.
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

    @property
    def fingerprint(self) -> str:
        """Hash of the settings and the training texts, or of the model where none are known."""
        ...

    def encode(self, texts: Sequence[Text], max_length: int | None = None) -> Encodings:
        """Encodes texts.

        Args:
            texts: each a str, which the tokenizer splits, or a list of words, each of which has a
                piece at least. Anything goes: empty, NUL, lone surrogates, a million characters.
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

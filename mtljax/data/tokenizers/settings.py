"""The settings of a tokenizer."""

import dataclasses
from typing import Any, Literal, get_args

from mtljax.errors import UserError
from mtljax.ranges import at_least, range_of, size

Kind = Literal["words", "bpe", "wordpiece", "character", "byte", "file", "pretrained"]
"""The unit of text that an id stands for."""


@dataclasses.dataclass(frozen=True)
class TokenizerSettings:
    """How text becomes ids.

    Attributes:
        kind: `words` (a vocabulary of words, the others are `<oov>`), `bpe` (byte pairs),
            `wordpiece` (parts of words), `character`, `byte`, `file` (a `tokenizer.json`), or
            `pretrained` (that of a pretrained model, with its ids).
        lowercase: whether capitals are lower-cased first (not for `byte`, `file` and `pretrained`).
        num_words: words in the vocabulary at most, the most frequent ones (`words` only).
        min_count: times a word or character must be seen within one data set to enter (`words` and
            `character` only).
        prefixes: lengths of the prefixes that are hashed for each word (`words` only).
        suffixes: lengths of the suffixes that are hashed for each word (`words` only).
        shape: whether the shape (capitals, digits, marks) is hashed too (`words` only).
        characters: of each word that the encoder reads as characters, of a longer word the first
            and the last half of so many (`words` only); 0 for none.
        affix_buckets: number of hash values, shared by prefixes, suffixes and shapes.
        vocab_size: pieces in the vocabulary at most, including the four special ones and for `bpe`
            256 bytes (`bpe` and `wordpiece` only).
        file: path of a `tokenizer.json` of the tokenizers library (`file`), or of the directory of
            a pretrained model (`pretrained`).

    Raises:
        UserError: with the name of the setting that is out of range.
    """

    kind: Kind = "words"
    lowercase: bool = True
    num_words: int = size(1, default=50_000, high=2**30)
    min_count: int = at_least(1, default=2)
    prefixes: tuple[int, ...] = size(1, default=(2, 3), high=1000)
    suffixes: tuple[int, ...] = size(1, default=(2, 3), high=1000)
    shape: bool = True
    characters: int = size(0, default=0, high=1000)
    affix_buckets: int = size(1, default=8192, high=2**30)
    # Four special pieces and 256 bytes are the least of a vocabulary of byte pairs.
    vocab_size: int = size(4 + 256, default=8000)
    file: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            *others, last = map(repr, get_args(Kind))
            raise UserError(f"tokenizer kind {self.kind!r}: expected {', '.join(others)} or {last}")
        for name in ("lowercase", "shape"):
            if not isinstance(getattr(self, name), bool):
                raise UserError(
                    f"tokenizer {name}: expected true or false, got {getattr(self, name)!r}"
                )
        for name in ("prefixes", "suffixes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for field in dataclasses.fields(self):
            if (allowed := range_of(field)) is not None:
                value = getattr(self, field.name)
                for number in value if isinstance(value, tuple) else (value,):
                    _whole_number(field.name, number, allowed.low)
        if not isinstance(self.file, str):
            raise UserError(f"tokenizer file: expected a path, got {self.file!r}")
        if self.kind == "file" and not self.file:
            raise UserError("tokenizer file: kind 'file' needs the path of a tokenizer.json")
        if self.kind == "pretrained" and not self.file:
            raise UserError("tokenizer file: kind 'pretrained' needs the directory of a model")
        if self.kind not in ("file", "pretrained") and self.file:
            raise UserError(
                f"tokenizer file: {self.file!r} is read by kind 'file' only, not by {self.kind!r}"
            )

    @property
    def hashed(self) -> int:
        """Number of hashed affixes of each word."""
        if self.kind != "words":
            return 0
        return len(self.prefixes) + len(self.suffixes) + bool(self.shape)

    @property
    def spelled(self) -> int:
        """Number of characters of each word that are read."""
        return self.characters if self.kind == "words" else 0

    @property
    def affixes(self) -> int:
        """Numbers that are read of each word besides its id, `A`: affixes, then characters."""
        return self.hashed + -(-self.spelled // 4)

    @property
    def word_gap(self) -> int:
        """Number of ids between two words of a list that belong to neither."""
        return int(self.kind in ("character", "byte"))


def _whole_number(name: str, value: Any, low: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise UserError(f"tokenizer {name}: expected a whole number from {low}, got {value!r}")

"""A tokenizer of bytes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtljax.data.tokenizers.fingerprint import fingerprint_of_model
from mtljax.data.tokenizers.protocol import Encodings, Text
from mtljax.data.tokenizers.settings import TokenizerSettings
from mtljax.data.tokenizers.spelling import spell
from mtljax.data.tokenizers.subword import well_formed
from mtljax.special_tokens import OWN_MARKS, SPECIALS, Marks

_FIRST = len(SPECIALS)


class ByteTokenizer:
    """A tokenizer whose pieces are the bytes of UTF-8; byte `i` has the id `i + 4`.

    Args:
        settings: none of them matters but the kind.
        fingerprint: by default that of the settings.

    >>> ByteTokenizer(TokenizerSettings(kind="byte")).encode(["é", ["a", "b"]]).tokens.tolist()
    [2, 199, 173, 2, 101, 36, 102]
    """

    def __init__(self, settings: TokenizerSettings, fingerprint: str | None = None) -> None:
        self.settings = settings
        self.pieces: tuple[str, ...] = (*SPECIALS, *(f"<0x{i:02X}>" for i in range(256)))
        self.fingerprint = fingerprint or fingerprint_of_model(settings, self.to_json())

    @property
    def vocab_size(self) -> int:
        """Number of ids, with the four special ones."""
        return len(self.pieces)

    @property
    def marks(self) -> Marks:
        """Its special ids, those of all our own tokenizers."""
        return OWN_MARKS

    def encode(self, texts: Sequence[Text], max_length: int | None = None) -> Encodings:
        """Encodes texts; see `Tokenizer.encode`. A space goes between the words of a list."""
        return spell(texts, _ids_of, _FIRST + ord(" "), max_length)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, exactly; bytes that are not UTF-8 become U+FFFD."""
        return bytes(int(i) - _FIRST for i in ids if int(i) >= _FIRST).decode("utf-8", "replace")

    def to_json(self) -> dict[str, Any]:
        """Nothing: there is nothing to train."""
        return {}


def _ids_of(text: str) -> np.ndarray:
    content = np.frombuffer(well_formed(text).encode("utf-8"), np.uint8)
    return content.astype(np.int32) + _FIRST

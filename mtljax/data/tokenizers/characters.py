"""A tokenizer of characters."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mtljax.data.tokenizers.fingerprint import fingerprint_of_model
from mtljax.data.tokenizers.protocol import Encodings, Text
from mtljax.data.tokenizers.settings import TokenizerSettings
from mtljax.data.tokenizers.spelling import spell
from mtljax.data.tokenizers.vocabulary import vocabulary
from mtljax.special_tokens import OOV, OWN_MARKS, SPECIALS, Marks


class CharacterTokenizer:
    """A tokenizer whose pieces are Unicode characters, including spaces and line ends.

    Args:
        characters: the vocabulary; character `i` has the id `i + 4`.
        settings: whether text is lower-cased.
        fingerprint: that of its training texts; by default that of the vocabulary.

    >>> tokenizer = CharacterTokenizer(["a", "b", " "], TokenizerSettings(kind="character"))
    >>> tokenizer.encode(["Ab?", ["b", "a"]]).tokens.tolist()
    [2, 4, 5, 1, 2, 5, 6, 4]
    """

    def __init__(
        self,
        characters: Sequence[str],
        settings: TokenizerSettings,
        fingerprint: str | None = None,
    ) -> None:
        self.settings = settings
        self.pieces: tuple[str, ...] = (*SPECIALS, *characters)
        points = np.array([ord(character) for character in characters], np.int64)
        # The last row stands for all characters beyond the vocabulary's.
        self._ids = np.full(points.max(initial=0) + 2, OOV, np.int32)
        self._ids[points] = np.arange(len(points)) + len(SPECIALS)
        self._space = int(self._ids_of(" ")[0])
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
        return spell(texts, self._ids_of, self._space, max_length)

    def decode(self, ids: Sequence[int]) -> str:
        """The characters of some ids, exactly; unknown ones become U+FFFD."""
        kept = [int(i) for i in ids if int(i) == OOV or int(i) >= len(SPECIALS)]
        return "".join("\ufffd" if i == OOV else self.pieces[i] for i in kept)

    def to_json(self) -> dict[str, Any]:
        """The vocabulary, as JSON."""
        return {"characters": list(self.pieces[len(SPECIALS) :])}

    def _ids_of(self, text: str) -> np.ndarray:
        text = lower_each(text) if self.settings.lowercase else text
        # One code point for each character, looked up in a table by NumPy.
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        return self._ids[np.minimum(points, len(self._ids) - 1)]


def train_characters(corpora: Iterable[Iterable[Text]], settings: TokenizerSettings) -> list[str]:
    """Collects the characters of some texts.

    A character enters the vocabulary if one corpus has it `min_count` times. There is a space
    between the words of a list.

    Args:
        corpora: texts, corpus by corpus.
        settings: `lowercase`, `min_count`.
    """
    counts = (_count_characters(corpus, settings.lowercase) for corpus in corpora)
    return vocabulary(counts, settings.min_count)


def lower_each(text: str) -> str:
    """Lower-cases each character independently of its neighbours.

    >>> lower_each("ΣΑΣ"), "ΣΑΣ".lower()
    ('σασ', 'σας')
    """
    # The capital sigma is the one letter whose small form depends on its neighbours.
    return text.replace("Σ", "σ").lower()


def _count_characters(texts: Iterable[Text], lowercase: bool) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text if isinstance(text, str) else " ".join(text))
    if not lowercase:
        return counts
    lowered: Counter[str] = Counter()
    for character, n in counts.items():
        for lower in lower_each(character):
            lowered[lower] += n
    return lowered

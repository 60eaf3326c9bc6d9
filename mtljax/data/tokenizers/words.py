"""A tokenizer of words, with hashed affixes that unknown words have too."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mtljax.data.tokenizers.affixes import affix_ids
from mtljax.data.tokenizers.fingerprint import fingerprint_of_model
from mtljax.data.tokenizers.protocol import Encodings, Text
from mtljax.data.tokenizers.settings import TokenizerSettings
from mtljax.data.tokenizers.vocabulary import vocabulary
from mtljax.data.tokenizers.word_splitting import WORD_RULE, split_words, usual_spaces
from mtljax.special_tokens import OOV, OWN_MARKS, SPECIALS, START, Marks

_REMEMBERED = 1 << 20  # distinct words; a longer list is forgotten
_LONGEST_REMEMBERED = 64  # characters


class WordTokenizer:
    """A tokenizer whose pieces are words.

    Args:
        words: the vocabulary; word `i` has the id `i + 4`.
        settings: how words are lower-cased and which affixes are hashed.
        fingerprint: that of its training texts; by default that of the vocabulary.
        word_rule: by which a text is split, as in `split_words`.

    >>> tokenizer = WordTokenizer(["good", "film"], TokenizerSettings(prefixes=(2,), suffixes=()))
    >>> tokenizer.encode(["Good films", ["film"]]).tokens.tolist()
    [2, 4, 1, 2, 5]
    """

    def __init__(
        self,
        words: Sequence[str],
        settings: TokenizerSettings,
        fingerprint: str | None = None,
        word_rule: int = WORD_RULE,
    ) -> None:
        self.settings = settings
        self.word_rule = word_rule
        self.pieces: tuple[str, ...] = (*SPECIALS, *words)
        self._ids = {word: i for i, word in enumerate(words, start=len(SPECIALS))}
        self.fingerprint = fingerprint or fingerprint_of_model(settings, self.to_json())
        self._forget()

    @property
    def vocab_size(self) -> int:
        """Number of ids, with the four special ones."""
        return len(self.pieces)

    @property
    def marks(self) -> Marks:
        """Its special ids, those of all our own tokenizers."""
        return OWN_MARKS

    def encode(self, texts: Sequence[Text], max_length: int | None = None) -> Encodings:
        """Encodes texts; see `Tokenizer.encode`. Words of a list are taken as they are."""
        if len(self._rows) > _REMEMBERED:
            self._forget()
        limit = None if max_length is None else max(max_length - 1, 0)
        flat: list[int] = []
        lengths = np.empty(len(texts), np.int64)
        row_of = self._row_of
        for i, text in enumerate(texts):
            words = split_words(text, limit, self.word_rule) if isinstance(text, str) else text
            if limit is not None and len(words) > limit:
                words = words[:limit]
            lengths[i] = len(words) + 1
            flat.append(0)  # <s>
            flat += [row_of(word) for word in words]
        rows = np.asarray(flat, np.int64)
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        within = np.arange(len(rows)) - np.repeat(starts[:-1], lengths)
        return Encodings(
            tokens=self._row_ids[rows],
            affixes=self._row_affixes[rows],
            words=(within - 1).astype(np.int32),
            starts=starts,
        )

    def decode(self, ids: Sequence[int]) -> str:
        """The words of some ids, with the usual spaces between words and marks."""
        words = [self.pieces[int(i)] for i in ids if int(i) == OOV or int(i) >= len(SPECIALS)]
        return usual_spaces(" ".join(words))

    def to_json(self) -> dict[str, Any]:
        """The vocabulary and the rule of its words, as JSON."""
        words = list(self.pieces[len(SPECIALS) :])
        # Files of before there were two rules name none.
        return (
            {"words": words}
            if self.word_rule == 1
            else {"words": words, "word_rule": self.word_rule}
        )

    def _forget(self) -> None:
        # Ids and affixes are looked up once for each distinct word; row 0 is <s>.
        self._rows: dict[str, int] = {}
        self._used = 1
        self._row_ids = np.full(1024, START, np.int32)
        self._row_affixes = np.zeros((1024, self.settings.affixes), np.int32)

    def _row_of(self, word: str) -> int:
        row = self._rows.get(word)
        return self._new_row(word) if row is None else row

    def _new_row(self, word: str) -> int:
        row = self._used
        if row == len(self._row_ids):
            self._row_ids = np.concatenate([self._row_ids, np.zeros_like(self._row_ids)])
            self._row_affixes = np.concatenate(
                [self._row_affixes, np.zeros_like(self._row_affixes)]
            )
        form = word.lower() if self.settings.lowercase else word
        self._row_ids[row] = self._ids.get(form, OOV)
        self._row_affixes[row] = affix_ids(word, self.settings)
        if len(word) <= _LONGEST_REMEMBERED:
            self._rows[word] = row
        self._used += 1
        return row


def train_words(corpora: Iterable[Iterable[Text]], settings: TokenizerSettings) -> list[str]:
    """Collects a vocabulary of words.

    A word enters it if one corpus has it `min_count` times; of more than `num_words`, those that
    are most frequent in all corpora together, in that order (ties by spelling).

    Args:
        corpora: texts, corpus by corpus.
        settings: `lowercase`, `min_count`, `num_words`.
    """
    counts = (count_words(corpus, settings.lowercase) for corpus in corpora)
    return vocabulary(counts, settings.min_count)[: settings.num_words]


def count_words(texts: Iterable[Text], lowercase: bool, word_rule: int = WORD_RULE) -> Counter[str]:
    """Counts the words of some texts, split by a rule of `split_words`."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(split_words(text, rule=word_rule) if isinstance(text, str) else text)
    if not lowercase:
        return counts
    lowered: Counter[str] = Counter()
    for word, n in counts.items():
        lowered[word.lower()] += n
    return lowered

"""Byte-level byte-pair encoding, by the `tokenizers` library."""

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mtljax.data.tokenizers.protocol import (
    SPECIALS,
    START,
    Encodings,
    Text,
    TokenizerSettings,
)

_REMEMBERED = 1 << 20  # distinct words of lists; a longer list is forgotten


class BytePairTokenizer:
    """A tokenizer whose pieces are runs of bytes, so that nothing is unknown.

    Sennrich et al. 2016, on bytes as Radford et al. 2019 do. A list of words is encoded word by
    word, each as if a space went before it.

    Args:
        model: the JSON text of a `tokenizers.Tokenizer`.
        settings: the settings it was trained with.
    """

    def __init__(self, model: str, settings: TokenizerSettings) -> None:
        import tokenizers

        self.settings = settings
        self._model = tokenizers.Tokenizer.from_str(model)
        # Else a text with "<s>" in it would have a start in its middle.
        self._model.encode_special_tokens = True
        size = self._model.get_vocab_size()
        self.pieces: tuple[str, ...] = tuple(self._model.id_to_token(i) or "" for i in range(size))
        if self.pieces[: len(SPECIALS)] != SPECIALS:
            raise ValueError("the special pieces are not where they should be")
        self._longest = max(map(len, self.pieces))
        self._words: dict[str, list[int]] = {}

    @property
    def vocab_size(self) -> int:
        """Number of ids, with the four special ones."""
        return len(self.pieces)

    @classmethod
    def train(
        cls, corpora: Iterable[Iterable[Text]], settings: TokenizerSettings
    ) -> "BytePairTokenizer":
        """Learns pairs from texts.

        Args:
            corpora: texts, corpus by corpus.
            settings: `lowercase`, `vocab_size`.
        """
        import tokenizers
        from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

        model = tokenizers.Tokenizer(models.BPE())
        if settings.lowercase:
            model.normalizer = normalizers.Lowercase()
        model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        model.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=settings.vocab_size,
            special_tokens=list(SPECIALS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        texts = itertools.chain.from_iterable(corpora)
        lines = (_clean(t if isinstance(t, str) else " ".join(t)) for t in texts)
        model.train_from_iterator(lines, trainer=trainer)
        return cls(model.to_str(), settings)

    def encode(self, texts: Sequence[Text], max_length: int | None = None) -> Encodings:
        """Encodes texts; see `Tokenizer.encode`."""
        limit = None if max_length is None else max(max_length - 1, 0)
        tokens: list[int] = []
        words: list[int] = []
        starts = [0]
        for text, encoded in zip(texts, self._encode_strings(texts, limit), strict=True):
            if encoded is None:
                ids, first = self._encode_list(text, limit)
            else:
                ids = encoded.ids
                first = [-1] * len(ids)
            tokens.append(START)
            tokens += ids[:limit]
            words.append(-1)
            words += first[:limit]
            starts.append(len(tokens))
        return Encodings(
            tokens=np.asarray(tokens, np.int32),
            affixes=np.zeros((len(tokens), 0), np.int32),
            words=np.asarray(words, np.int32),
            starts=np.asarray(starts, np.int64),
        )

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids; bytes that are not UTF-8 become U+FFFD."""
        kept = [int(i) for i in ids if int(i) >= len(SPECIALS)]
        text = self._model.decode(kept, skip_special_tokens=False)
        return text.removeprefix(" ")

    def to_json(self) -> dict[str, Any]:
        """The model, as JSON."""
        return {"model": json.loads(self._model.to_str())}

    def _encode_strings(self, texts: Sequence[Text], limit: int | None) -> list[Any]:
        # No text of more than this many characters (each a byte at least) has fewer pieces than
        # the limit; what lies behind them is not looked at.
        far = None if limit is None else (limit + 2) * self._longest
        strings = [_clean(text[:far]) for text in texts if isinstance(text, str)]
        encoded = iter(self._model.encode_batch_fast(strings, add_special_tokens=False))
        return [next(encoded) if isinstance(text, str) else None for text in texts]

    def _encode_list(self, words: Sequence[str], limit: int | None) -> tuple[list[int], list[int]]:
        ids: list[int] = []
        first: list[int] = []
        for index, word in enumerate(words):
            if limit is not None and len(ids) >= limit:
                break
            pieces = self._words.get(word)
            if pieces is None:
                far = None if limit is None else (limit + 2) * self._longest
                pieces = self._model.encode(_clean(word[:far]), add_special_tokens=False).ids
                # A word of nothing still needs a piece to carry its tag.
                pieces = pieces or self._model.encode(" x", add_special_tokens=False).ids[:1]
                if len(self._words) < _REMEMBERED and len(word) <= self._longest:
                    self._words[word] = pieces
            ids += pieces
            first += [index, *[-1] * (len(pieces) - 1)]
        return ids, first


def _clean(text: str) -> str:
    # The library takes no lone surrogates.
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text

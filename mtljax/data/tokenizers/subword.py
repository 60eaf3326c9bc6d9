"""A tokenizer of parts of words, with a model of the `tokenizers` library."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mtljax.data.tokenizers.fingerprint import fingerprint_of_model
from mtljax.data.tokenizers.protocol import Encodings, Text, Tokenizer
from mtljax.data.tokenizers.settings import TokenizerSettings
from mtljax.data.tokenizers.word_splitting import usual_spaces
from mtljax.special_tokens import OOV, OWN_MARKS, SPECIALS, Marks

_REMEMBERED = 1 << 20  # distinct words of lists; a longer list is forgotten
_LONGEST_REMEMBERED = 64  # characters
_BATCH = 1024  # texts that are encoded at once


class SubwordTokenizer:
    """A tokenizer whose pieces are those of a model: byte pairs, WordPiece, or one from a file.

    A list of words is encoded word by word, each as it is encoded inside a text, after a space.
    Special pieces of a model from a file are not recognised in a text; one that the model yields
    all the same, like its piece for unknown text, becomes `<oov>`.

    Args:
        model: the JSON text of a `tokenizers.Tokenizer`, whose first four pieces are the special
            ones, unless it is from a file: then its ids are moved behind them.
        settings: the settings it was trained with.
        fingerprint: that of its training texts; by default that of the model.
        marks: the special ids of a pretrained model, whose ids stay as they are.
        vocabulary: ids of a pretrained model, of which the last may stand for nothing.
    """

    def __init__(
        self,
        model: str,
        settings: TokenizerSettings,
        fingerprint: str | None = None,
        marks: Marks = OWN_MARKS,
        vocabulary: int = 0,
    ) -> None:
        import tokenizers

        self.settings = settings
        self.marks = marks
        self._model = tokenizers.Tokenizer.from_str(model)
        # Else a text with "<s>" in it would have a start in its middle.
        self._model.encode_special_tokens = True
        size = max(self._model.get_vocab().values(), default=-1) + 1
        pieces = tuple(self._model.id_to_token(i) or "" for i in range(size))
        self.pieces: tuple[str, ...]
        if settings.kind == "pretrained":
            self.pieces = pieces + ("",) * (vocabulary - size)
            self._ids = np.arange(size, dtype=np.int32)
            self._model_ids = _shown_ids(self._model, marks, size, len(self.pieces))
        elif settings.kind == "file":
            self.pieces = SPECIALS + pieces
            self._ids, self._model_ids = _shifted_ids(self._model, json.loads(model)["model"], size)
        else:
            if pieces[: len(SPECIALS)] != SPECIALS:
                raise ValueError("the special pieces are not the first four")
            self.pieces = pieces
            self._ids = np.arange(size, dtype=np.int32)
            self._model_ids = np.where(np.isin(self._ids, (OOV, *range(4, size))), self._ids, -1)
        self.fingerprint = fingerprint or fingerprint_of_model(settings, self.to_json())
        self._longest = max(map(len, pieces), default=1)
        # Where the model has no space before a first word, a word of a list brings its own.
        alone, spaced, pair = (self._model_pieces(text) for text in ("b", " b", "a b"))
        self._before = " " if alone != spaced and pair == self._model_pieces("a") + spaced else ""
        # An empty word still needs a piece to carry its tag.
        bpe = settings.kind == "bpe"
        self._empty_word = self._model_pieces(" x")[:1] if bpe else [marks.unknown]
        self._words: dict[str, list[int]] = {}

    @property
    def special_ids(self) -> frozenset[int]:
        """See the function of this name."""
        if self.settings.kind != "pretrained":
            return frozenset(range(len(SPECIALS)))
        return frozenset(np.flatnonzero(self._model_ids < 0).tolist()) | {self.marks.unknown}

    @property
    def vocab_size(self) -> int:
        """Number of ids, with the four special ones."""
        return len(self.pieces)

    def encode(self, texts: Sequence[Text], max_length: int | None = None) -> Encodings:
        """Encodes texts; see `Tokenizer.encode`."""
        prefix = np.asarray(self.marks.prefix or (self.marks.start,), np.int32)
        limit = None if max_length is None else max(max_length - len(prefix), 0)
        tokens = [np.zeros(0, np.int32)]
        words = [np.zeros(0, np.int32)]
        starts = [0]
        of_strings = self._encode_strings([text for text in texts if isinstance(text, str)], limit)
        for text in texts:
            if isinstance(text, str):
                ids = next(of_strings)[:limit]
                first = np.full(len(ids), -1, np.int32)
            else:
                ids, first = self._encode_list(text, limit)
            tokens += [prefix, ids]
            words += [np.full(len(prefix), -1, np.int32), first]
            starts.append(starts[-1] + len(prefix) + len(ids))
        return Encodings(
            tokens=np.concatenate(tokens),
            affixes=np.zeros((starts[-1], 0), np.int32),
            words=np.concatenate(words),
            starts=np.asarray(starts, np.int64),
        )

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids; bytes that are not UTF-8 become U+FFFD."""
        kept = self._model_ids[np.asarray(ids, np.int64)]
        text = self._model.decode(kept[kept >= 0].tolist(), skip_special_tokens=False)
        if self.settings.kind == "bpe":
            return text.removeprefix(" ")
        return usual_spaces(text) if self.settings.kind == "wordpiece" else text

    def to_json(self) -> dict[str, Any]:
        """The model, as JSON."""
        content = {"model": json.loads(self._model.to_str())}
        if self.settings.kind != "pretrained":
            return content
        return {**content, "marks": self.marks._asdict(), "vocabulary": len(self.pieces)}

    def outside(self) -> dict[str, Any]:
        """What a model of the `tokenizers` library needs to give our ids, and to take them back.

        As JSON: ``ids``, ours of each of its own (None where they are the same), ``back``, its own
        of each of ours (-1 for those that are not decoded), ``before_word``, what stands before a
        word of a list, and ``empty_word``, the ids of an empty one.
        """
        ids = self._ids.tolist()
        return {
            "ids": None if ids == list(range(len(ids))) else ids,
            "back": self._model_ids.tolist(),
            "before_word": self._before,
            "empty_word": list(self._empty_word),
        }

    def _encode_strings(self, texts: Sequence[str], limit: int | None) -> Iterator[np.ndarray]:
        longest = self._longest_text(limit)
        for first in range(0, len(texts), _BATCH):
            batch = [well_formed(text[:longest]) for text in texts[first : first + _BATCH]]
            for encoded in self._model.encode_batch_fast(batch, add_special_tokens=False):
                yield self._ids[encoded.ids]

    def _encode_list(
        self, words: Sequence[str], limit: int | None
    ) -> tuple[np.ndarray, np.ndarray]:
        ids: list[int] = []
        begins: list[int] = []
        for word in words:
            if limit is not None and len(ids) >= limit:
                break
            pieces = self._words.get(word)
            if pieces is None:
                pieces = self._model_pieces(self._before + word[: self._longest_text(limit)])
                pieces = pieces or self._empty_word
                if len(word) <= _LONGEST_REMEMBERED:
                    self._remember(word, pieces)
            begins.append(len(ids))
            ids += pieces
        first = np.full(len(ids), -1, np.int32)
        first[begins] = np.arange(len(begins))
        return np.asarray(ids[:limit], np.int32), first[:limit]

    def _model_pieces(self, text: str) -> list[int]:
        return self._ids[
            self._model.encode(well_formed(text), add_special_tokens=False).ids
        ].tolist()

    def _remember(self, word: str, pieces: list[int]) -> None:
        if len(self._words) >= _REMEMBERED:
            self._words.clear()
        self._words[word] = pieces

    def _longest_text(self, limit: int | None) -> int | None:
        # A text of more characters, each at least a byte, has more byte pairs than the limit: the
        # rest need not be encoded. Other models drop spaces, so that nothing bounds their texts.
        if limit is None or self.settings.kind != "bpe":
            return None
        return (limit + 2) * self._longest


def special_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """The ids that stand for no text: special ones, and those without a piece."""
    if isinstance(tokenizer, SubwordTokenizer):
        return tokenizer.special_ids
    return frozenset(range(len(SPECIALS)))


def well_formed(text: str) -> str:
    """A text without lone surrogates, which become `?`: UTF-8 has no place for them."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


def _shown_ids(model: Any, marks: Marks, size: int, vocabulary: int) -> np.ndarray:
    # The ids that are decoded; -1 for special ones and those that stand for nothing.
    ids = np.where(np.arange(vocabulary) < size, np.arange(vocabulary), -1)
    special = {i for i, token in model.get_added_tokens_decoder().items() if token.special}
    special -= {marks.unknown}
    special |= {marks.start, marks.end, *marks.prefix, *marks.between, *marks.suffix}
    ids[list(special)] = -1
    return ids


def _shifted_ids(model: Any, content: dict[str, Any], size: int) -> tuple[np.ndarray, np.ndarray]:
    # From the ids of a file to ours, and back; -1 for ids that are not decoded.
    special = {i for i, token in model.get_added_tokens_decoder().items() if token.special}
    unknown = content.get("unk_id")
    if content.get("unk_token") is not None:
        unknown = model.token_to_id(content["unk_token"])
    ids = np.arange(size, dtype=np.int32) + len(SPECIALS)
    back = np.concatenate([np.full(len(SPECIALS), -1), np.arange(size)])
    hidden = list(special | ({unknown} if unknown is not None else set()))
    ids[hidden] = OOV
    back[len(SPECIALS) + np.array(hidden, np.int64)] = -1
    if unknown is not None:
        back[OOV] = unknown
    return ids, back

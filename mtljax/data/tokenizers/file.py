"""Training, saving and loading of tokenizers."""

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path

from mtljax.data.tokenizers.bpe import BytePairTokenizer
from mtljax.data.tokenizers.protocol import Text, Tokenizer, TokenizerSettings
from mtljax.data.tokenizers.words import WordTokenizer
from mtljax.errors import UserError

_FORMAT = 1


def train_tokenizer(corpora: Iterable[Iterable[Text]], settings: TokenizerSettings) -> Tokenizer:
    """Trains a tokenizer.

    Args:
        corpora: training texts, each distinct source once.
        settings: its kind and sizes.
    """
    kind = WordTokenizer if settings.kind == "words" else BytePairTokenizer
    return kind.train(corpora, settings)


def save_tokenizer(tokenizer: Tokenizer, path: str | os.PathLike[str]) -> None:
    """Writes a tokenizer as one JSON file, whole or not at all."""
    content = {
        "format": _FORMAT,
        "settings": dataclasses.asdict(tokenizer.settings),
        **tokenizer.to_json(),
    }
    path = Path(path)
    draft = path.with_name(f".{path.name}.tmp")
    # ASCII, so that any word a text can hold, lone surrogates included, survives.
    draft.write_text(json.dumps(content), encoding="ascii")
    os.replace(draft, path)


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """Reads what `save_tokenizer` wrote.

    Raises:
        UserError: with the file, if it is missing, cut short or damaged.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"tokenizer {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"tokenizer {path}: cut short or damaged: {error}") from error
    try:
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']!r}")
        settings = TokenizerSettings(**content["settings"])
        if settings.kind == "bpe":
            return BytePairTokenizer(json.dumps(content["model"]), settings)
        words = content["words"]
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError("'words' is not a list of words")
        return WordTokenizer(words, settings)
    # The tokenizers library raises plain Exception for a model it cannot read.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise UserError(f"tokenizer {path}: damaged: {reason}") from error

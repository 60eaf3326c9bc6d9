"""Training, saving and loading of tokenizers."""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mtljax.data.tokenizers.byte_level import ByteTokenizer
from mtljax.data.tokenizers.byte_pairs import train_byte_pairs
from mtljax.data.tokenizers.characters import CharacterTokenizer, train_characters
from mtljax.data.tokenizers.fingerprint import (
    begin_fingerprint,
    content_digest,
    fingerprint_of_model,
    read_along,
)
from mtljax.data.tokenizers.pretrained import read_pretrained_tokenizer
from mtljax.data.tokenizers.protocol import Text, Tokenizer
from mtljax.data.tokenizers.settings import TokenizerSettings
from mtljax.data.tokenizers.subword import SubwordTokenizer
from mtljax.data.tokenizers.tokenizer_json import read_tokenizer_json
from mtljax.data.tokenizers.word_pieces import train_word_pieces
from mtljax.data.tokenizers.word_splitting import WORD_RULE
from mtljax.data.tokenizers.words import WordTokenizer, train_words
from mtljax.errors import UserError
from mtljax.special_tokens import marks_from_json

_FORMAT = 2  # 1 had neither fingerprint nor digest


def train_tokenizer(corpora: Iterable[Iterable[Text]], settings: TokenizerSettings) -> Tokenizer:
    """Trains a tokenizer in one pass over the texts; memory holds their distinct words.

    Args:
        corpora: training texts, each distinct source once; not read for the kinds `byte`, `file`
            and `pretrained`.
        settings: kind and sizes of the tokenizer.

    Raises:
        UserError: with the file, if the settings name one that cannot be used.
    """
    if settings.kind == "byte":
        return ByteTokenizer(settings)
    if settings.kind == "file":
        content = read_tokenizer_json(settings.file)
        fingerprint = fingerprint_of_model(settings, content)
        return SubwordTokenizer(json.dumps(content), settings, fingerprint)
    if settings.kind == "pretrained":
        model = read_pretrained_tokenizer(settings.file)
        fingerprint = fingerprint_of_model(settings, [model.content, model.marks, model.vocabulary])
        return SubwordTokenizer(
            json.dumps(model.content), settings, fingerprint, model.marks, model.vocabulary
        )
    hashed = begin_fingerprint(settings)
    corpora = read_along(corpora, hashed)
    if settings.kind == "words":
        words = train_words(corpora, settings)
        return WordTokenizer(words, settings, hashed.hexdigest())
    if settings.kind == "character":
        characters = train_characters(corpora, settings)
        return CharacterTokenizer(characters, settings, hashed.hexdigest())
    train = train_byte_pairs if settings.kind == "bpe" else train_word_pieces
    model = train(corpora, settings)
    return SubwordTokenizer(model, settings, hashed.hexdigest())


def save_tokenizer(tokenizer: Tokenizer, path: str | os.PathLike[str]) -> None:
    """Writes a tokenizer as one JSON file, completely or not at all.

    It holds all that encoding needs, the `fingerprint`, and a `digest` of the rest of the file.
    """
    content = {
        "format": _FORMAT,
        "settings": dataclasses.asdict(tokenizer.settings),
        "fingerprint": tokenizer.fingerprint,
        **tokenizer.to_json(),
    }
    content["digest"] = content_digest(content)
    path = Path(path)
    # Renamed when complete: a run that is interrupted leaves no half-written tokenizer.
    draft = path.with_name(f".{path.name}.tmp")
    # ASCII, so that any word a text can hold, lone surrogates included, survives.
    draft.write_text(json.dumps(content), encoding="ascii")
    os.replace(draft, path)


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """Reads what `save_tokenizer` wrote, in this format or the one before.

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
        return _tokenizer(content)
    # The tokenizers library raises plain Exception for a model it cannot read.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise UserError(f"tokenizer {path}: damaged: {reason}") from error


def _tokenizer(content: Mapping[str, Any]) -> Tokenizer:
    if content["format"] not in (1, _FORMAT):
        raise ValueError(f"format {content['format']!r}")
    fingerprint = None
    if content["format"] != 1:
        fingerprint, digest = content["fingerprint"], content["digest"]
        if digest != content_digest({k: v for k, v in content.items() if k != "digest"}):
            raise ValueError("its content does not have the digest that was written with it")
    settings = TokenizerSettings(**content["settings"])
    if settings.kind == "byte":
        return ByteTokenizer(settings, fingerprint)
    if settings.kind == "words":
        rule = content.get("word_rule", 1)
        if rule not in (1, WORD_RULE):
            raise ValueError(f"word_rule {rule!r}")
        return WordTokenizer(_strings(content, "words"), settings, fingerprint, rule)
    if settings.kind == "character":
        return CharacterTokenizer(_strings(content, "characters"), settings, fingerprint)
    model = json.dumps(content["model"])
    if settings.kind == "pretrained":
        marks = marks_from_json(content["marks"])
        return SubwordTokenizer(model, settings, fingerprint, marks, content["vocabulary"])
    return SubwordTokenizer(model, settings, fingerprint)


def _strings(content: Mapping[str, Any], name: str) -> list[str]:
    entries = content[name]
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise ValueError(f"{name!r} is not a list of {name}")
    return entries

"""The data sets inside the package, and those derived from them."""

import dataclasses
import functools
import json
import lzma
from collections import Counter
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from mtljax.data.catalogue.case_and_punctuation import case_and_punctuation
from mtljax.data.sources.fingerprint import fingerprint_of
from mtljax.data.sources.source import Feature, Source
from mtljax.data.sources.splits import select_splits
from mtljax.errors import UserError
from mtljax.tasks import Dataset

# The file of a set that is derived from another one.
_FILES = {"movie_casepunct": "movie_sentiment", "movie_lm": "movie_sentiment"}
_RARE = 20  # a joint tag that train has less often loses its mark
_SHORTEST = 3  # words of a sentence of movie_casepunct
_SENTIMENTS = ("negative", "positive")

_Rows = dict[str, list[list[Any]]]


def load_embedded(name: str, dataset: Dataset | None = None) -> Source:
    """Reads an embedded data set.

    Args:
        name: one of `EMBEDDED`.
        dataset: a description of it under another name, perhaps with other splits made of its own.

    Returns:
        The set, with the splits `train`, `validation` and `test` in memory.

    Raises:
        KeyError: if there is no such set.
    """
    source = EMBEDDED[name](name)
    slices = [] if dataset is None else list(dataset.splits)
    source = dataclasses.replace(source, fingerprint=functools.cache(lambda: _digest(name, slices)))
    if dataset is None:
        return source
    if not slices:
        return dataclasses.replace(source, name=dataset.name)
    return dataclasses.replace(
        source,
        name=dataset.name,
        identity=source.identity + json.dumps(slices),
        splits=select_splits(dataset, source.splits),
    )


def _file(name: str) -> Traversable:
    return resources.files("mtljax.data") / "embedded" / f"{name}.jsonl.xz"


def _digest(name: str, slices: list[Any]) -> str:
    with resources.as_file(_file(_FILES.get(name, name))) as path:
        return fingerprint_of([path], [name, slices])


@functools.lru_cache(maxsize=4)
def _read(name: str) -> _Rows:
    file = _file(name)
    try:
        text = lzma.decompress(file.read_bytes()).decode("utf-8")
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise UserError(f"embedded data set {name}: cannot read {file}: {error}") from error
    splits: _Rows = {}
    for line in text.splitlines():
        split, *fields = json.loads(line)
        splits.setdefault(split, []).append(fields)
    return splits


def _sentiment(name: str) -> Source:
    return Source(
        name=name,
        identity=name,
        features={
            "text": Feature("text"),
            "label": Feature("label", _SENTIMENTS),
            "rating": Feature("number"),
        },
        splits={
            split: [
                {"text": text, "label": int(rating > 0), "rating": rating} for text, rating in rows
            ]
            for split, rows in _read(name).items()
        },
    )


def _text_only(name: str, file: str) -> Source:
    return Source(
        name=name,
        identity=file,
        features={"text": Feature("text")},
        splits={split: [{"text": row[0]} for row in rows] for split, rows in _read(file).items()},
    )


def _addresses(name: str) -> Source:
    splits = {
        split: [(tokens.split(), tags.split()) for tokens, tags in rows]
        for split, rows in _read(name).items()
    }
    classes = sorted({tag for rows in splits.values() for _, tags in rows for tag in tags})
    return _tagged(name, splits, classes)


def _casepunct(name: str) -> Source:
    splits = {}
    for split, rows in _read("movie_sentiment").items():
        sentences = [case_and_punctuation(text) for text, _ in rows]
        splits[split] = [pair for pair in sentences if len(pair[0]) >= _SHORTEST]
    counts = Counter(tag for _, tags in splits["train"] for tag in tags)

    # Rare joint tags keep their case alone, and LOWER is written O.
    def kept(tag: str) -> str:
        tag = tag if counts[tag] >= _RARE else tag.split("+")[0]
        return "O" if tag == "LOWER" else tag

    splits = {
        split: [(tokens, [kept(tag) for tag in tags]) for tokens, tags in rows]
        for split, rows in splits.items()
    }
    classes = sorted({tag for _, tags in splits["train"] for tag in tags} - {"O"})
    return _tagged(name, splits, ["O", *classes])


def _tagged(name: str, splits: dict[str, list[Any]], classes: list[str]) -> Source:
    index = {tag: i for i, tag in enumerate(classes)}
    return Source(
        name=name,
        identity=name,
        features={"tokens": Feature("tokens"), "tags": Feature("tags", tuple(classes))},
        splits={
            split: [
                {"tokens": tokens, "tags": [index[tag] for tag in tags]} for tokens, tags in rows
            ]
            for split, rows in splits.items()
        },
    )


EMBEDDED = {
    "movie_sentiment": _sentiment,
    "movie_casepunct": _casepunct,
    "movie_lm": functools.partial(_text_only, file="movie_sentiment"),
    "amazon_sentiment": _sentiment,
    "us_address": _addresses,
    "moby_dick": functools.partial(_text_only, file="moby_dick"),
}
"""Every embedded set, by name: a function of its name that reads it."""

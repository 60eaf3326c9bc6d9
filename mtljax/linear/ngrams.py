"""Sparse features of texts: n-grams of words or characters, counted or weighted by rarity."""

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mtljax.linear.features import SparseFeatures

_WORD = re.compile(r"\b\w\w+\b")
_SPACES = re.compile(r"\s\s+")


@dataclass(frozen=True)
class NgramSettings:
    """What counts as an n-gram, and what it counts.

    Attributes:
      unit: 'words' of two letters or digits and more, joined by spaces; or 'characters', with runs
        of white space as one space.
      sizes: the least and the largest n.
      lower: whether texts are lowered first.
      min_texts: an n-gram of fewer texts is left out.
      buckets: 0 for a vocabulary; else the number of columns that n-grams are hashed to (Weinberger
        et al., "Feature Hashing for Large Scale Multitask Learning", 2009, without signs).
      values: 'tfidf' or 'counts'.
      sublinear: whether a count c is 1 + ln c.
    """

    unit: Literal["words", "characters"] = "words"
    sizes: tuple[int, int] = (1, 2)
    lower: bool = True
    min_texts: int = 1
    buckets: int = 0
    values: Literal["tfidf", "counts"] = "tfidf"
    sublinear: bool = False

    def __post_init__(self) -> None:
        least, largest = self.sizes
        if not 1 <= least <= largest:
            raise ValueError(f"sizes must be 1 or more and ascending, got {self.sizes}")
        if self.unit not in ("words", "characters"):
            raise ValueError(f"unit must be words or characters, got {self.unit!r}")
        if self.values not in ("tfidf", "counts"):
            raise ValueError(f"values must be tfidf or counts, got {self.values!r}")
        if self.min_texts < 1 or self.buckets < 0:
            raise ValueError("min_texts must be 1 or more and buckets 0 or more")
        if self.buckets and self.min_texts > 1:
            raise ValueError("min_texts: buckets leave nothing out")


@dataclass(frozen=True)
class Ngrams:
    """The columns of features, as texts of training had them.

    Attributes:
      settings: as they were learned with.
      columns: of each n-gram, in the order of the alphabet; None with buckets.
      rarity: ``[d]``, ``ln((1 + texts) / (1 + texts with it)) + 1``; ones for counts.
    """

    settings: NgramSettings
    columns: dict[str, int] | None
    rarity: np.ndarray


def learn_ngrams(texts: Iterable[str], settings: NgramSettings | None = None) -> Ngrams:
    """The columns that texts of training have.

    Args:
      texts: of all tasks, of the training split alone.
      settings: None for words and pairs of words by TF-IDF.

    Returns:
      `Ngrams`, for `ngram_features`: as of scikit-learn's ``TfidfVectorizer`` and
      ``CountVectorizer`` with these settings.

    Raises:
      ValueError: no n-gram is in enough texts.

    >>> ngrams = learn_ngrams(["a good book", "a bad book"], NgramSettings(sizes=(1, 1)))
    >>> ngrams.columns
    {'bad': 0, 'book': 1, 'good': 2}
    >>> ngram_features(["book after book"], ngrams).values
    array([1.], dtype=float32)
    """
    settings = NgramSettings() if settings is None else settings
    within: Counter[Any] = Counter()
    count = 0
    for text in texts:
        count += 1
        within.update({_hashed(gram, settings) for gram in _grams(text, settings)})
    if settings.buckets:
        columns, width = None, settings.buckets
        texts_with = np.zeros(width)
        for column, number in within.items():
            texts_with[column] = number
    else:
        kept = sorted(gram for gram, number in within.items() if number >= settings.min_texts)
        columns, width = {gram: index for index, gram in enumerate(kept)}, len(kept)
        texts_with = np.array([within[gram] for gram in kept], float)
    if not width:
        raise ValueError(f"texts: no n-gram is in {settings.min_texts} of {count} texts")
    if settings.values == "counts":
        return Ngrams(settings, columns, np.ones(width))
    return Ngrams(settings, columns, np.log((1 + count) / (1 + texts_with)) + 1)


def ngram_features(texts: Iterable[str], ngrams: Ngrams, dtype: Any = np.float32) -> SparseFeatures:
    """The features of texts: counts, or counts times rarity at unit length.

    Args:
      texts: n of them; n-grams that training had not are left out.
      ngrams: from `learn_ngrams`.
      dtype: of the values.

    Returns:
      ``[n, d]``, columns ascending within a row.
    """
    settings, columns = ngrams.settings, ngrams.columns
    ends, places, values = [0], [], []
    for text in texts:
        counted = Counter(_hashed(gram, settings) for gram in _grams(text, settings))
        if columns is not None:
            found = {columns[gram]: n for gram, n in counted.items() if gram in columns}
        else:
            found = counted
        row = np.array(sorted(found), np.int64)
        counts = np.array([found[place] for place in row], float)
        if settings.sublinear:
            counts = 1 + np.log(counts)
        if settings.values == "tfidf":
            counts = counts * ngrams.rarity[row]
            counts = counts / (np.linalg.norm(counts) or 1)
        places.append(row)
        values.append(counts)
        ends.append(ends[-1] + row.size)
    return SparseFeatures(
        np.repeat(np.arange(len(places), dtype=np.int32), np.diff(ends)),
        np.concatenate([*places, np.zeros(0)]).astype(np.int32),
        np.concatenate([*values, np.zeros(0)]).astype(dtype),
        (len(places), ngrams.rarity.size),
    )


def beside(features: Sequence[SparseFeatures]) -> SparseFeatures:
    """Features of the same samples side by side, such as n-grams of words and of characters.

    Args:
      features: ``[n, d_i]`` each.

    Returns:
      ``[n, sum of d_i]``.

    Raises:
      ValueError: none, or numbers of samples that differ.
    """
    if len({part.shape[0] for part in features}) != 1:
        raise ValueError(f"features must be of as many samples, got {[f.shape for f in features]}")
    starts = np.cumsum([0, *(part.shape[1] for part in features)])
    rows = np.concatenate([part.rows for part in features])
    columns = np.concatenate([p.columns + s for p, s in zip(features, starts, strict=False)])
    order = np.argsort(rows, kind="stable")
    values = np.concatenate([part.values for part in features])
    shape = features[0].shape[0], int(starts[-1])
    return SparseFeatures(rows[order], columns[order].astype(np.int32), values[order], shape)


def _grams(text: str, settings: NgramSettings) -> Iterator[str]:
    text = text.lower() if settings.lower else text
    is_words = settings.unit == "words"
    units: Sequence[str] = _WORD.findall(text) if is_words else _SPACES.sub(" ", text)
    joint = " " if is_words else ""
    least, largest = settings.sizes
    for size in range(least, largest + 1):
        for start in range(len(units) - size + 1):
            yield joint.join(units[start : start + size])


def _hashed(gram: str, settings: NgramSettings) -> Any:
    """An n-gram, or its bucket."""
    return zlib.crc32(gram.encode()) % settings.buckets if settings.buckets else gram

"""What the linear encoder reads of a text, as sparse features: for models that are solved."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from mtljax.data.encoding.examples import Examples
from mtljax.linear import SparseFeatures
from mtljax.modules.config import EncoderConfig
from mtljax.modules.linear import ngram_buckets


class Columns(NamedTuple):
    """Where the rows of a linear encoder's tables lie among the columns of features.

    Attributes:
      tables: the path of each table in the shared parameters, and its rows, in order.
    """

    tables: tuple[tuple[tuple[str, str], int], ...]

    @property
    def width(self) -> int:
        """The number of columns."""
        return sum(rows for _, rows in self.tables)

    def start(self, path: tuple[str, str]) -> int:
        """The column of the first row of a table."""
        start = 0
        for name, rows in self.tables:
            if name == path:
                return start
            start += rows
        raise KeyError(path)


WORDS, AFFIXES = ("embedding", "words"), ("embedding", "affixes")


def ngram_table(order: int) -> tuple[str, str]:
    """The path of the table of n-grams of this length."""
    return "linear", f"ngrams_{order}"


def encoder_columns(encoder: EncoderConfig, vocabulary: int, affixes: int) -> Columns:
    """The columns of a linear encoder.

    Args:
      encoder: of kind 'linear'.
      vocabulary: rows of its word table.
      affixes: rows of its affix table, 0 for none.
    """
    tables = [(WORDS, vocabulary)]
    tables += [(AFFIXES, affixes)] if affixes else []
    tables += [(ngram_table(n), encoder.ngram_buckets) for n in range(2, encoder.ngrams + 1)]
    return Columns(tuple(tables))


def text_features(examples: Examples, columns: Columns, *, root: bool) -> SparseFeatures:
    """The factors of the table rows whose sum a pooled linear encoder gives for each text.

    Args:
      examples: texts as ids, with their affixes.
      columns: of the encoder.
      root: whether the sum over a text is divided by the root of its length (the pooling 'root')
        and not by the length ('mean').

    Returns:
      ``[texts, columns.width]`` float32, one entry a text and column.
    """
    tokens, lengths = np.asarray(examples.tokens), examples.lengths
    text = np.repeat(np.arange(len(examples)), lengths)
    factors = 1 / (np.sqrt(lengths) if root else lengths)
    within = [(text, tokens + columns.start(WORDS), np.ones(tokens.size))]
    names = [name for name, _ in columns.tables]
    if AFFIXES in names:
        affixes = np.asarray(examples.affixes)
        token, place = np.nonzero(affixes > 0)
        share = 1 / np.sqrt(np.maximum((affixes > 0).sum(1), 1))
        within.append((text[token], affixes[token, place] + columns.start(AFFIXES), share[token]))
    for order in range(2, 2 + sum(name[0] == "linear" for name in names)):
        path = ngram_table(order)
        rows = dict(columns.tables)[path]
        # One row of all texts, each a segment of it.
        segments = jnp.asarray(text[None] + 1, jnp.int32)
        found = np.asarray(ngram_buckets(jnp.asarray(tokens[None]), segments, order, rows))[0]
        (token,) = np.nonzero(found)
        within.append((text[token], found[token] + columns.start(path), np.ones(token.size)))
    texts, places, values = (np.concatenate(parts) for parts in zip(*within, strict=True))
    keys, entry = np.unique(texts.astype(np.int64) * columns.width + places, return_inverse=True)
    sums = np.bincount(entry.reshape(-1), values, keys.size)
    rows, places = np.divmod(keys, columns.width)
    return SparseFeatures(
        rows.astype(np.int32),
        places.astype(np.int32),
        (sums * factors[rows]).astype(np.float32),
        (len(examples), columns.width),
    )


def column_scales(features: Sequence[SparseFeatures]) -> np.ndarray:
    """By what columns are multiplied before a penalty weighs them alike: rare ones more.

    By the rarity ``ln((1 + n) / (1 + n_j)) + 1`` of a column that is in ``n_j`` of n texts, and all
    by one number, so that the mean squared length of a text is 1.

    Args:
      features: of training texts, ``[n_i, d]`` each.

    Returns:
      ``[d]`` float64.
    """
    width = features[0].shape[1]
    count = sum(part.shape[0] for part in features)
    having = sum(np.bincount(part.columns, minlength=width) for part in features)
    rarity = np.log((1 + count) / (1 + having)) + 1
    squares = sum(float(np.sum((part.values * rarity[part.columns]) ** 2)) for part in features)
    return rarity / np.sqrt(squares / count or 1.0)


def scaled(features: SparseFeatures, scales: np.ndarray) -> SparseFeatures:
    """Features with their columns multiplied by ``scales [d]``."""
    values = features.values * scales[features.columns].astype(np.float32)
    return SparseFeatures(features.rows, features.columns, values, features.shape)


def in_tables(weights: np.ndarray, columns: Columns) -> Mapping[str, Any]:
    """Weights ``[K, d]`` of K outputs as the tables ``[rows, K]`` of the shared parameters."""
    tables: dict[str, dict[str, np.ndarray]] = {}
    start = 0
    for (part, name), rows in columns.tables:
        table = np.ascontiguousarray(weights[:, start : start + rows].T, np.float32)
        tables.setdefault(part, {})[name] = table
        start += rows
    return tables

"""What is in a data set before tasks are made of it: its features, and tasks that they suggest."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from mtljax.data import Feature, Source

LARGEST = 200_000
"""Rows of a split that are read at most."""

_CLASSES = 100  # different values of a label at most, as a suggestion
_FEW = 20  # different whole numbers at most that may be names
_COMMON = 5


class FeatureCard(NamedTuple):
    """One feature over the rows of the training split.

    Attributes:
      kind: `text`, `tokens`, `label`, `tags`, `number` or `numbers`.
      missing: rows without a value.
      distinct: different values; of tokens, tags and numbers different items.
      common: the most frequent of them, with how often each occurs.
      words: of a text or tokens: the median, what 95 of 100 do not exceed, and the most; else None.
      repeated: of a text or tokens: rows whose value an earlier row has; else 0.
      also_trained: by other split, rows whose text the training split has too.
      recurs: of a text, whether it has the few values of a label; of a number, whether it is whole
        and has few.
    """

    kind: str
    missing: int
    distinct: int
    common: list[tuple[str, int]]
    words: tuple[int, int, int] | None
    repeated: int
    also_trained: dict[str, int]
    recurs: bool = False


class SourceCard(NamedTuple):
    """A data set.

    Attributes:
      rows: by split.
      left_out: malformed rows by split, which training would stop at or skip.
      features: by name.
      longer: by name of a text or tokens, the share of training rows with more words than asked.
      aligned: by name of a list of few different items, the tokens that it has one for each of.
    """

    rows: dict[str, int]
    left_out: dict[str, int]
    features: dict[str, FeatureCard]
    longer: dict[str, float]
    aligned: dict[str, str]


def source_card(source: Source, words: int) -> SourceCard:
    """Describes a data set; of very large splits the first 200,000 rows.

    Texts are equal if they are after blanks are made one and letters small.

    Args:
      source: the data set.
      words: what counts as a long text.
    """
    splits = {name: list(islice(rows, LARGEST)) for name, rows in source.splits.items()}
    features = {
        name: _feature_card(name, feature, splits) for name, feature in source.features.items()
    }
    longer = {}
    for name, card in features.items():
        if card.words is not None:
            lengths = [len(_words(row[name])) for row in splits["train"] if row.get(name)]
            longer[name] = sum(length > words for length in lengths) / max(1, len(lengths))
    skipped = source.skipped() if source.skipped is not None else {}
    left_out = {split: count for splits_ in skipped.values() for split, count in splits_.items()}
    rows = {name: len(rows) for name, rows in source.splits.items()}
    return SourceCard(rows, left_out, features, longer, _aligned(features, splits["train"]))


def _aligned(
    features: Mapping[str, FeatureCard], rows: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    lists = [name for name, card in features.items() if card.kind == "tokens"]
    few = [name for name in lists if 1 < features[name].distinct <= _CLASSES]
    lengths = {name: [len(row.get(name) or ()) for row in rows] for name in lists}
    return {
        name: other
        for name in few
        for other in lists
        if other != name
        and features[other].distinct > features[name].distinct
        and lengths[other] == lengths[name]
        and max(lengths[name], default=0) > 1
    }


def _feature_card(
    name: str, feature: Feature, splits: Mapping[str, Sequence[Mapping[str, Any]]]
) -> FeatureCard:
    values = [row.get(name) for row in splits["train"]]
    present = [value for value in values if not _is_missing(value)]
    counts: Counter[str] = Counter()
    for value in present:
        items = value if isinstance(value, list | tuple) else [value]
        counts.update(_shown(item, feature) for item in items)
    worded = feature.kind in ("text", "tokens")
    lengths = sorted(len(_words(value)) for value in present) or [0]
    plain = [_plain(value) for value in present] if worded else []
    trained = set(plain)
    return FeatureCard(
        feature.kind,
        len(values) - len(present),
        len(counts),
        counts.most_common(_COMMON),
        (lengths[len(lengths) // 2], lengths[int(0.95 * (len(lengths) - 1))], lengths[-1])
        if worded
        else None,
        len(plain) - len(trained),
        {
            split: sum(
                _plain(row[name]) in trained for row in rows if not _is_missing(row.get(name))
            )
            for split, rows in splits.items()
            if split != "train" and worded
        },
        _recurs(feature, present, len(counts)),
    )


def _recurs(feature: Feature, present: Sequence[Any], distinct: int) -> bool:
    if feature.kind == "number":
        return 1 < distinct <= _FEW and all(float(value).is_integer() for value in present)
    return feature.kind == "text" and 1 < distinct <= min(_CLASSES, len(present) // 2)


def suggested_tasks(card: SourceCard, source: str) -> dict[str, dict[str, Any]]:
    """Tasks that the features of a data set suggest, as a tasks file would have them.

    The text with the most words is what tasks read, for tags the words that they belong to.
    Labels, texts of few different values, tags, lists of few different items (of which each word
    has one, or a text several) and numbers that are not all different are what they answer; without
    any, the text itself is learned.

    Args:
      card: of the data set.
      source: its name in the tasks file.
    """
    read = max(
        (name for name, feature in card.features.items() if feature.words is not None),
        key=lambda name: card.features[name].words or (),
        default=None,
    )
    if read is None:
        return {}
    tokens = next((name for name, f in card.features.items() if f.kind == "tokens"), None)
    tasks = {}
    for name, feature in card.features.items():
        given = {"dataset": source, "inputs": read, "targets": name}
        rows = card.rows["train"] - feature.missing
        if name == read:
            continue
        if feature.kind == "tags" and tokens is not None:
            tasks[name] = {"kind": "tagging", **given, "inputs": tokens}
        elif name in card.aligned:
            tasks[name] = {"kind": "tagging", **given, "inputs": card.aligned[name]}
        elif feature.kind == "tokens" and 1 < feature.distinct <= min(_CLASSES, rows // 2):
            tasks[name] = {"kind": "multilabel", **given}
        elif feature.kind == "label" or (feature.kind == "text" and feature.recurs):
            tasks[name] = {"kind": "classification", **given}
        elif feature.kind == "number" and 1 < feature.distinct < rows:
            tasks[name] = {"kind": "regression", **given}
    return tasks or {read: {"kind": "language_model", "dataset": source, "inputs": read}}


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or value == [] or value != value


def _words(value: Any) -> Sequence[str]:
    return value.split() if isinstance(value, str) else value if isinstance(value, list) else ()


def _plain(value: Any) -> str:
    return " ".join(" ".join(_words(value)).casefold().split())


def _shown(item: Any, feature: Feature) -> str:
    if feature.classes and isinstance(item, int) and 0 <= item < len(feature.classes):
        return feature.classes[item]
    return " ".join(str(item).split())

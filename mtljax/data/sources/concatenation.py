"""The concatenation of several data sets, their features and classes united."""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mtljax.data.sources.lazy_rows import Row, concatenated, mapped
from mtljax.data.sources.source import Feature, Source
from mtljax.errors import UserError
from mtljax.kinds.labels import Indicators, is_missing

# The kind that two different kinds are united to: names of classes are texts.
_COMMON_KIND: dict[frozenset[str], Any] = {
    frozenset({"label", "text"}): "text",
    frozenset({"tags", "tokens"}): "tokens",
}

Convert = Callable[[Any], Any]


def combine(sources: Sequence[Source]) -> Source:
    """Several data sets as one, their rows one after the other.

    Args:
        sources: at least one.

    Returns:
        A data set named after all of them, with the features that all of them have in compatible
        kinds and the splits that any of them has. Classes are united by name in the order in which
        they are first met; labels become those of the united classes, or names where one set has
        texts instead of labels. Reading its rows raises UserError for a label that is none of its
        set's classes.
    """
    if len(sources) == 1:
        return sources[0]
    features: dict[str, Feature] = {}
    converts: list[dict[str, Convert | None]] = [{} for _ in sources]
    for name in sources[0].features:
        if all(name in source.features for source in sources):
            united = _united([source.features[name] for source in sources])
            if united is not None:
                features[name] = united
                for source, convert in zip(sources, converts, strict=True):
                    where = f"data set {source.name!r}, feature {name!r}"
                    convert[name] = _conversion(source.features[name], united, where)
    splits = {}
    for split in dict.fromkeys(split for source in sources for split in source.splits):
        splits[split] = concatenated(
            [
                mapped(source.splits[split], functools.partial(_row, convert))
                for source, convert in zip(sources, converts, strict=True)
                if split in source.splits
            ]
        )
    fingerprints = [source.fingerprint for source in sources]
    computable = [fingerprint for fingerprint in fingerprints if fingerprint is not None]
    return Source(
        name="+".join(source.name for source in sources),
        identity=json.dumps([source.identity for source in sources]),
        features=features,
        splits=splits,
        fingerprint=_fingerprint(computable) if len(computable) == len(sources) else None,
        skipped=lambda: _skipped(sources),
        locate=functools.partial(_locate, sources, converts),
    )


def _united(features: Sequence[Feature]) -> Feature | None:
    kinds = {feature.kind for feature in features}
    if len(kinds) > 1:
        kind = _COMMON_KIND.get(frozenset(kinds))
        named = all(f.classes for f in features if f.kind in ("label", "tags"))
        return Feature(kind) if kind and named else None
    if len({bool(feature.classes) for feature in features}) > 1:
        return None  # class numbers without names cannot be matched with named ones
    classes = dict.fromkeys(name for feature in features for name in feature.classes)
    return Feature(features[0].kind, tuple(classes))


def _conversion(feature: Feature, united: Feature, where: str) -> Convert | None:
    # From a value of one data set to one of the united feature; None where it stays as it is.
    if feature.kind == united.kind and feature.classes == united.classes:
        return None
    if united.kind in ("text", "tokens") and feature.kind in ("text", "tokens"):
        return None
    named = united.kind in ("text", "tokens")
    table = feature.classes if named else [united.classes.index(name) for name in feature.classes]

    def convert(label: Any) -> Any:
        if is_missing(label):
            return None if named else -1
        if isinstance(label, bool) or label not in range(len(table)):
            raise UserError(f"{where}: label {label!r} is not in 0..{len(table) - 1}")
        return table[label]

    if feature.kind == "label":
        return convert

    def convert_list(labels: Any) -> Any:
        if isinstance(labels, Indicators):
            # True and false stay, which are labels of no class.
            items = [item if isinstance(item, bool) else convert(item) for item in labels]
            return Indicators(items, map(convert, labels.chosen))
        return None if labels is None else [convert(label) for label in labels]

    return convert_list


def _row(converts: Mapping[str, Convert | None], row: Row) -> Row:
    return {
        name: row[name] if convert is None else convert(row[name])
        for name, convert in converts.items()
        if name in row
    }


def _fingerprint(fingerprints: Sequence[Callable[[], str]]) -> Callable[[], str]:
    return functools.cache(
        lambda: hashlib.sha256(json.dumps([part() for part in fingerprints]).encode()).hexdigest()
    )


def _locate(
    sources: Sequence[Source],
    converts: Sequence[Mapping[str, Convert | None]],
    split: str,
    matches: Callable[[Row], bool],
    item: int | None,
) -> str | None:
    for source, convert in zip(sources, converts, strict=True):
        if source.locate is not None and split in source.splits:
            place = source.locate(split, lambda row, c=convert: matches(_row(c, row)), item)
            if place is not None:
                return place
    return None


def _skipped(sources: Sequence[Source]) -> dict[str, Mapping[str, int]]:
    counts: dict[str, Mapping[str, int]] = {}
    for source in sources:
        counts.update(source.skipped() if source.skipped else {})
    return counts

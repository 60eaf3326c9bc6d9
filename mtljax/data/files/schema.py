"""Kinds of features, inferred from the values of a file, and the conversion of these values."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from mtljax.data.files.list_cells import split_cell
from mtljax.data.sources.source import Feature
from mtljax.kinds import FeatureKind
from mtljax.kinds.labels import (
    Indicators,
    declared_class,
    indexed,
    indicated,
    is_missing,
    number_of,
    short,
    text_of,
)
from mtljax.kinds.target_rows import is_float32

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"[+-]?\d+")

Convert = Callable[[Any], Any]


def inferred_kind(values: Iterable[Any], cells: bool = False) -> FeatureKind | None:
    """The kind of a feature by the first of its values that decides it.

    Args:
        values: values as a file has them.
        cells: whether they are cells of a table, which are texts: then `number` if all of them that
            are not empty are numbers, else `text`.

    Returns:
        The kind; None if no value decides it, as where all are None.

    >>> inferred_kind([None, ["a"]]), inferred_kind(["1", "", "2.5"], cells=True)
    ('tokens', 'number')
    """
    if cells:
        filled = [value for value in values if value]
        return "number" if filled and all(map(_NUMBER.fullmatch, filled)) else "text"
    empty_lists = False
    for value in values:
        if isinstance(value, str):
            return "text"
        if isinstance(value, int | float):
            return "number"
        if isinstance(value, list):
            item = next((item for item in value if item is not None), None)
            if isinstance(item, str):
                return "tokens"
            if isinstance(item, int | float):
                return "numbers"
            empty_lists = empty_lists or not value
    return "tokens" if empty_lists else None


def feature_of(
    values: Sequence[Any],
    kind: str | None = None,
    classes: tuple[str, ...] = (),
    cells: bool = False,
    separator: str | None = None,
) -> tuple[Feature, Convert] | None:
    """A feature, and the conversion of a file's values to values of it.

    Args:
        values: its first values in the file.
        kind: the declared kind; None to infer it.
        classes: declared names of its classes.
        cells: whether the values are cells of a table.
        separator: between the items of a list that is written in one text; None for blanks.

    Returns:
        The feature and a function that raises ValueError for a value that does not fit; None where
        the kind is not declared and no value decides it.
    """
    inferred = inferred_kind(values, cells)
    if kind is None and classes:
        # A cell that begins with `[` is a list of labels.
        filled = (value.lstrip() for value in values if cells and value.strip())
        lists = inferred in ("tokens", "numbers") or next(filled, "").startswith("[")
        kind = "tags" if lists else "label"
    if kind is None:
        kind = inferred
    if kind is None:
        return None
    if kind in ("label", "tags"):
        if classes:
            label = _label(classes)
            convert = label if kind == "label" else _or_missing(_set(classes, separator))
            return Feature(cast(FeatureKind, kind), classes), convert
        if cells or inferred in ("text", "tokens") or any(map(_has_truth_value, values)):
            # The classes are the names that occur in train: until then texts.
            if kind == "label":
                return Feature("text"), _name
            return Feature("tokens"), _or_missing(_listed(_tag_name, separator))
        convert = _class_id if kind == "label" else _or_missing(_listed(_class_id, separator))
        return Feature(cast(FeatureKind, kind)), convert
    feature = Feature(cast(FeatureKind, kind))
    if kind in _ITEMS:
        return feature, _listed(_ITEMS[kind], separator)
    return feature, _CONVERTERS[kind]


def in_float32(convert: Convert) -> Convert:
    """A conversion to numbers that raises ValueError for those beyond float32; NaN is missing."""

    def checked(value: Any) -> Any:
        converted = convert(value)
        for number in _numbers(converted):
            if not is_float32(number):
                raise ValueError(f"{short(number)} is beyond float32, which ends at 3.4e38")
        return converted

    return checked


def finite(convert: Convert) -> Convert:
    """A conversion to labels that raises ValueError for infinite ones; NaN is missing."""

    def checked(value: Any) -> Any:
        converted = convert(value)
        if any(abs(number) == math.inf for number in (*_numbers(value), *_numbers(converted))):
            raise ValueError("an infinite number is no label")
        return converted

    return checked


def _numbers(value: Any) -> list[float]:
    # Without NaN, which is unequal to itself.
    items = value if isinstance(value, list) else (value,)
    return [item for item in items if isinstance(item, int | float) and item == item]


def _or_missing(convert: Convert) -> Convert:
    return lambda value: None if isinstance(value, str) and not value.strip() else convert(value)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"expected a text, got {short(value)}")


def _number(value: Any) -> int | float | None:
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        try:
            return int(text) if _WHOLE.fullmatch(text) else float(text)
        except ValueError:
            pass
    raise ValueError(f"expected a number, got {short(value)}")


def _listed(convert: Convert, separator: str | None) -> Convert:
    def convert_list(value: Any) -> list[Any] | None:
        items = _items(value, separator)
        return None if items is None else [convert(item) for item in items]

    return convert_list


def _items(value: Any, separator: str | None) -> list[Any] | None:
    if isinstance(value, str):
        return split_cell(value, separator)
    if value is None or isinstance(value, list):
        return value
    raise ValueError(f"expected a list, got {short(value)}")


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"expected texts, got {short(value)} among them")


def _label(classes: tuple[str, ...]) -> Convert:
    known = indexed(classes)

    def convert(value: Any) -> int | None:
        if value is None or (value == "" and "" not in known.index):
            return None
        number = declared_class(value, known)
        if number is None:
            raise ValueError(f"{short(value)} is not one of its {len(classes)} classes")
        return number

    return convert


def _set(classes: tuple[str, ...], separator: str | None) -> Convert:
    """Labels of declared classes; a list of 0 and 1 as long as they are may be a set of them."""
    label, known = _label(classes), indexed(classes)

    def convert(value: Any) -> list[Any] | None:
        items = _items(value, separator)
        if items is None:
            return None
        chosen = indicated(items, known)
        if chosen is None:
            return [label(item) for item in items]
        # As tags, true and false are no class: they stay, to be refused there.
        flags = [number_of(item) is None for item in items]
        labels = [i in chosen if flag else int(i in chosen) for i, flag in enumerate(flags)]
        return Indicators(labels, chosen)

    return convert


def _name(value: Any) -> str | None:
    """The name of a class that is not declared; None where it is missing."""
    if is_missing(value):
        return None
    text = text_of(value)
    if text is None:
        raise ValueError(f"expected a label, got {short(value)}")
    return text


def _tag_name(value: Any) -> str | None:
    """As `_name`, but an empty text stays: of tags, it may be the one outside of spans."""
    return "" if isinstance(value, str) and not value.strip() else _name(value)


def _class_id(value: Any) -> int | bool | None:
    """A class without a name, from 0; a truth value stays one; -1 or None where it is missing."""
    if value is None or isinstance(value, bool) or value == "":
        return None if value == "" else value
    if is_missing(value):
        return -1
    number = number_of(value)
    if not isinstance(number, int) or number < 0:
        raise ValueError(f"{short(value)} is not the number of a class")
    return number


def _has_truth_value(value: Any) -> bool:
    return isinstance(value, bool) or (
        isinstance(value, list) and any(isinstance(item, bool) for item in value)
    )


_CONVERTERS: dict[str, Convert] = {"text": _text, "number": _number}
_ITEMS: dict[str, Convert] = {"tokens": _word, "numbers": _number}

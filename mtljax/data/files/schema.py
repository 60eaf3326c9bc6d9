"""Kinds of features, inferred from the values of a file, and the conversion of these values."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from mtljax.data.sources.source import Feature
from mtljax.kinds import FeatureKind

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
) -> tuple[Feature, Convert] | None:
    """A feature, and the conversion of a file's values to values of it.

    Args:
        values: its first values in the file.
        kind: the declared kind; None to infer it.
        classes: declared names of its classes.
        cells: whether the values are cells of a table.

    Returns:
        The feature and a function that raises ValueError for a value that does not fit; None where
        the kind is not declared and no value decides it.
    """
    inferred = inferred_kind(values, cells)
    if kind is None and classes:
        kind = "tags" if inferred in ("tokens", "numbers") else "label"
    if kind is None:
        kind = inferred
    if kind is None:
        return None
    if kind in ("label", "tags"):
        named = cells or inferred in ("text", "tokens")
        if not classes and named:
            # The classes are the names that occur in train: until then a text, empty if missing.
            plain: FeatureKind = "text" if kind == "label" else "tokens"
            return Feature(plain), _or_missing(_CONVERTERS[plain])
        label = _label(classes)
        convert = label if kind == "label" else _or_missing(_listed(label))
        return Feature(cast(FeatureKind, kind), classes), convert
    return Feature(cast(FeatureKind, kind)), _CONVERTERS[kind]


def _or_missing(convert: Convert) -> Convert:
    return lambda value: None if value == "" else convert(value)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"expected a text, got {_short(value)}")


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
    raise ValueError(f"expected a number, got {_short(value)}")


def _listed(convert: Convert) -> Convert:
    def convert_list(value: Any) -> list[Any] | None:
        if value is None:
            return None
        if isinstance(value, str):
            value = value.split()
        if not isinstance(value, list):
            raise ValueError(f"expected a list, got {_short(value)}")
        return [convert(item) for item in value]

    return convert_list


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"expected texts, got {_short(value)} among them")


def _label(classes: tuple[str, ...]) -> Convert:
    index = {name: i for i, name in enumerate(classes)}

    def convert(value: Any) -> int | None:
        if value is None or value == "":
            return None
        # By name first: classes may be called 1, 2 and 3, which are no class numbers then.
        name = value if isinstance(value, str) else str(value)
        if name in index:
            return index[name]
        number = _whole(value)
        if number is None or number < -1 or (classes and number >= len(classes)):
            wanted = f"one of its {len(classes)} classes" if classes else "the number of a class"
            raise ValueError(f"{_short(value)} is not {wanted}")
        return number

    return convert


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value) if _WHOLE.fullmatch(value) else None
    if isinstance(value, float) and math.isnan(value):
        return -1
    if isinstance(value, int | float) and float(value).is_integer():
        return int(value)
    return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


_CONVERTERS: dict[str, Convert] = {
    "text": _text,
    "tokens": _listed(_word),
    "number": _number,
    "numbers": _listed(_number),
}

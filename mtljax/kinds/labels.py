"""Labels of a data set and the classes they name: by text, by value or, where declared, by number.

A label is what its author wrote. It is looked up by its text, then by its value: `1`, `1.0` and
`"1"` are the class `1`, `true` and `"True"` the class `true`. Only where a data set declares its
classes, and none of their names is a number, may a label be the number of a class.
"""

import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

MISSING = (-1, -100)
"""Numbers that say that there is no label."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_LONGEST = 400  # characters of a text that is read as a number

Value = tuple[str, Any]
"""What a label is, whatever it is written as: `("truth", True)`, `("number", 1)`, `("text", "a")`.
"""


class Classes(NamedTuple):
    """The classes of a task.

    Attributes:
        names: of all classes, in order.
        index: the number of each name.
        by_value: the numbers of the names that have a value, by value.
        numbered: whether numbers in the rows are numbers of classes, as in a data set that declares
            its classes; else they are names.
    """

    names: Sequence[str]
    index: Mapping[str, int]
    by_value: Mapping[Value, Sequence[int]]
    numbered: bool = True


class Indicators(list):
    """A list of 0 and 1 as long as the classes: as a set, those whose entry is 1.

    The items are those of the list read label by label, as tags are.

    Attributes:
        chosen: the numbers of the classes whose entry is 1.
    """

    def __init__(self, labels: Iterable[Any] = (), chosen: Iterable[Any] = ()) -> None:
        """From the labels of the list and the classes that it chooses as a set."""
        super().__init__(labels)
        self.chosen = list(chosen)


def indexed(names: Sequence[str], numbered: bool = True) -> Classes:
    """Classes of these names."""
    by_value: dict[Value, list[int]] = {}
    for i, name in enumerate(names):
        by_value.setdefault(value_of(name) or ("text", name), []).append(i)
    return Classes(names, {name: i for i, name in enumerate(names)}, by_value, numbered)


def number_of(label: Any) -> int | float | None:
    """The finite number that a label is or writes out, whole ones as int; else None.

    >>> number_of("1.0"), number_of(2.5), number_of(True), number_of("one")
    (1, 2.5, None, None)
    """
    if isinstance(label, str):
        text = label.strip()
        if len(text) > _LONGEST or not _NUMBER.fullmatch(text):
            return None
        label = int(text) if _INTEGER.fullmatch(text) else float(text)
    if isinstance(label, bool) or not isinstance(label, numbers.Real):
        return None
    if isinstance(label, numbers.Integral):
        return int(label)
    number = float(label)
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() else number


def value_of(label: Any) -> Value | None:
    """What a label is, whatever it is written as; None for what is no label.

    >>> value_of(True) == value_of("True"), value_of(1.0) == value_of("1"), value_of(" a ")
    (True, True, ('text', 'a'))
    """
    if isinstance(label, bool):
        return "truth", label
    number = number_of(label)
    if number is not None:
        return "number", number
    if not isinstance(label, str):
        return None
    text = label.strip()
    return ("truth", text.lower() == "true") if text.lower() in _TRUTH else ("text", text)


_TRUTH = ("true", "false")


def is_missing(label: Any) -> bool:
    """Whether a label is absent: None, a blank text, NaN, infinite, -1 or -100, also as a text."""
    if label is None or (isinstance(label, str) and not label.strip()):
        return True
    number = number_of(label)
    if number is not None:
        return number in MISSING
    # NaN and infinity; a truth value is a label.
    return isinstance(label, numbers.Real) and not isinstance(label, bool)


def text_of(label: Any) -> str | None:
    """The name of the class that a label is, where no classes are declared.

    >>> text_of(" a "), text_of(1.0), text_of(True), text_of([1])
    ('a', '1', 'true', None)
    """
    if isinstance(label, str):
        return label.strip()
    if isinstance(label, bool):
        return "true" if label else "false"
    number = number_of(label)
    return None if number is None else str(number)


def named_class(label: Any, classes: Classes) -> int | None:
    """The class that a label names by its text or its value; None if it names none.

    Raises:
        ValueError: if several classes have the value of a label and none its text.
    """
    if isinstance(label, str) and label in classes.index:
        return classes.index[label]
    text = text_of(label)
    if text is not None and text in classes.index:
        return classes.index[text]
    value = value_of(label)
    if value is None:
        return None
    found = classes.by_value.get(value, ())
    # True is 1 and false is 0 where the names are of the other sort.
    if not found and value[0] == "truth":
        found = classes.by_value.get(("number", int(value[1])), ())
    if len(found) > 1:
        names = " or ".join(repr(classes.names[i]) for i in found)
        raise ValueError(f"label {short(label)} could be {names}")
    return found[0] if found else None


def declared_class(label: Any, classes: Classes) -> int | None:
    """The number of a declared class, from a label as a file has it; -1 where it is missing.

    Args:
        label: the name of a class or, where no name is a number, the number of a class.
        classes: all classes, at least one.

    Returns:
        The number; None for what is no class.

    Raises:
        ValueError: if a label could be more than one class.
    """
    number = named_class(label, classes)
    if number is not None:
        return number
    if is_missing(label):
        return -1
    number = number_of(label)
    kinds = {value[0] for value in classes.by_value}
    if "number" in kinds or not isinstance(number, int) or not 0 <= number < len(classes.names):
        return None
    if "truth" in kinds and number in (0, 1):
        if classes.by_value.get(("truth", bool(number))) == [number]:
            return number
        names = ", ".join(classes.names)
        raise ValueError(f"label {short(label)} could be a truth value or a number of {names}")
    return number


def as_class(label: Any, classes: Classes) -> int:
    """The class of a target, -1 where it is absent.

    Args:
        label: the name of a class, or its number where they are `numbered`.
        classes: all classes.

    Raises:
        ValueError: with the reason, for a value that is no class.
    """
    if classes.numbered and not isinstance(label, str):
        if type(label) is int and 0 <= label < len(classes.names):
            return label
        if is_missing(label):
            return -1
        number = number_of(label)
        if not isinstance(number, int) or not 0 <= number < len(classes.names):
            raise ValueError(f"label {short(label)} is not in 0..{len(classes.names) - 1}")
        return number
    number = named_class(label, classes)
    if number is not None:
        return number
    if is_missing(label):
        return -1
    raise ValueError(
        f"label {short(label)} does not occur in train; name all 'classes' of its feature, or "
        "leave such rows out with --data.bad-rows skip"
    )


def class_names_of(labels: Iterable[Any]) -> tuple[str, ...]:
    """Names of the classes of labels that no declaration names.

    Texts are in alphabetical order; one that ends in `.0` is the whole number where that occurs as
    well. Numbers that are dense from 0 (of those up to the largest nine tenths or more occur) are
    numbers of classes, all of which there are; other numbers are names, those that occur.

    >>> class_names_of([3, 0, 2, 1]), class_names_of([1, 5, None, -1]), class_names_of(["b", "a"])
    (('0', '1', '2', '3'), ('1', '5'), ('a', 'b'))
    """
    distinct = {(isinstance(label, bool), label) for label in labels}
    present = [label for _, label in distinct if not is_missing(label)]
    if any(isinstance(label, str) for label in present):
        texts = {text for label in present if (text := text_of(label)) is not None}
        return tuple(sorted(text for text in texts if _without_zeros(text) not in texts - {text}))
    if present and all(isinstance(label, bool) for label in present):
        return tuple(text for text in ("false", "true") if (text == "true") in present)
    ids = {number_of(int(label) if isinstance(label, bool) else label) for label in present}
    whole = sorted(number for number in ids if isinstance(number, int) and number >= 0)
    if whole and whole[0] == 0 and 10 * len(whole) >= 9 * (whole[-1] + 1):
        whole = range(whole[-1] + 1)
    return tuple(map(str, whole))


def _without_zeros(text: str) -> str:
    return re.sub(r"\.0+$", "", text) if _NUMBER.fullmatch(text) else text


def indicated(labels: Sequence[Any], classes: Classes) -> list[int] | None:
    """The classes that a list of 0 and 1, as long as the classes, indicates; None for other lists.

    Lists are labels where a name of a class is a number.

    >>> indicated([1, 0, 1], indexed(("a", "b", "c"))), indicated([1, 0], indexed(("0", "1")))
    ([0, 2], None)
    """
    if len(labels) != len(classes.names) or any(value[0] != "text" for value in classes.by_value):
        return None
    values = [value_of(label) for label in labels]
    if not all(value and value[0] != "text" and value[1] in (0, 1) for value in values):
        return None
    return [i for i, value in enumerate(values) if value and value[1] == 1]


def short(value: Any) -> str:
    """The value in a message, 60 characters at most."""
    text = "a number of too many digits"
    if not isinstance(value, int) or abs(value) < 10**60:
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

import math

import numpy as np
import pytest

from mtljax.data import Feature
from mtljax.data.files.schema import feature_of, finite, in_float32, inferred_kind


def feature(values, **declared):
    found = feature_of(values, **declared)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a"], "text"),
        ([None, "", 3], "text"),
        ([3], "number"),
        ([None, 2.5], "number"),
        ([True], "number"),
        ([["a"]], "tokens"),
        ([[], [None, "a"]], "tokens"),
        ([[]], "tokens"),
        ([[1, 2.5]], "numbers"),
        ([None, None], None),
        ([], None),
        ([[[1]]], None),
        ([{}], None),
    ],
)
def test_kinds_are_inferred(values, kind):
    assert inferred_kind(values) == kind


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2.5", "", "+.5e-3"], "number"),
        (["1", "a"], "text"),
        (["", ""], "text"),
        ([], "text"),
        (["nan"], "text"),
        (["1 2"], "text"),
    ],
)
def test_kinds_of_cells(cells, kind):
    assert inferred_kind(cells, cells=True) == kind


CLASSES = ("no", "yes")


@pytest.mark.parametrize(
    ("values", "declared", "wanted", "converted"),
    [
        (["a"], {}, Feature("text"), {"b": "b", None: None, "": ""}),
        (
            [3],
            {},
            Feature("number"),
            {4: 4, 2.5: 2.5, None: None, "7": 7, "": None, " 1e2 ": 100.0},
        ),
        (["a"], {"kind": "tokens"}, Feature("tokens"), {"b  c": ["b", "c"], "": []}),
        (["1 2"], {"kind": "numbers"}, Feature("numbers"), {"3 4.5": [3, 4.5], None: None}),
        (
            ["yes"],
            {"classes": CLASSES},
            Feature("label", CLASSES),
            {
                "yes": 1,
                "no": 0,
                "1": 1,
                0: 0,
                1.0: 1,
                None: None,
                "": None,
                -1: -1,
                "-1": -1,
            },
        ),
        ([3], {"kind": "label"}, Feature("label"), {0: 0, 12: 12, math.nan: -1, None: None}),
        # Names without a list of classes: texts, of which train has the classes.
        (["a"], {"kind": "label"}, Feature("text"), {"b": "b", "": None}),
        ([["O"]], {"kind": "tags"}, Feature("tokens"), {None: None}),
        (
            ["O B"],
            {"kind": "tags", "cells": True},
            Feature("tokens"),
            {"O I": ["O", "I"], "": None},
        ),
        (
            [["no"]],
            {"classes": CLASSES},
            Feature("tags", CLASSES),
            {"yes no": [1, 0], None: None, "": None},
        ),
        (
            ["['O']"],
            {"kind": "tags", "cells": True},
            Feature("tokens"),
            {"['B-x', 'O']": ["B-x", "O"], '["O", null, ""]': ["O", None, ""], "[]": [], " ": None},
        ),
        (
            ["['no']"],
            {"classes": CLASSES, "cells": True},
            Feature("tags", CLASSES),
            {"['yes', 'no']": [1, 0], "": None},
        ),
        (
            ["no; yes"],
            {"kind": "tags", "classes": CLASSES, "cells": True, "separator": ";"},
            Feature("tags", CLASSES),
            {"yes; no": [1, 0], "yes": [1]},
        ),
        (["[1]"], {"kind": "numbers", "cells": True}, Feature("numbers"), {"[1, 2.5]": [1, 2.5]}),
        # A number that is the name of a class is its name.
        (
            [5],
            {"classes": ("1", "5")},
            Feature("label", ("1", "5")),
            {5: 1, "1.0": 0, -1: -1},
        ),
        ([1], {"classes": ("-1", "1")}, Feature("label", ("-1", "1")), {-1: 0, 1: 1, "-1": 0}),
        (
            [True],
            {"classes": ("true", "false")},
            Feature("label", ("true", "false")),
            {True: 0, False: 1, "true": 0, "True": 0, "FALSE": 1, None: None, -100: -1},
        ),
        (["1.0"], {"classes": CLASSES}, Feature("label", CLASSES), {"1.0": 1, "0.0": 0, "": None}),
        (
            [3],
            {"kind": "label"},
            Feature("label"),
            {3.0: 3, "3": 3, -100: -1, True: True},
        ),
        (["a"], {"kind": "label"}, Feature("text"), {3: "3", 2.0: "2", " b ": "b", "-1": None}),
        ([True], {"kind": "label"}, Feature("text"), {True: "true", False: "false", None: None}),
        (["1"], {"kind": "label", "cells": True}, Feature("text"), {"-1": None, "-100": None}),
    ],
)
def test_values_become_features(values, declared, wanted, converted):
    found, convert = feature(values, **declared)
    assert found == wanted
    for value, result in converted.items():
        assert convert(value) == result
        assert type(convert(value)) is type(result)


def test_lists_become_features():
    assert feature([["a"]])[1](["b", "c"]) == ["b", "c"]
    assert feature([[1]])[1]([2, 3.5]) == [2, 3.5]
    assert feature([["no"]], classes=CLASSES)[1](["yes", "", None, 0]) == [1, None, None, 0]
    assert feature([[1]], kind="tags")[1]([2, 0]) == [2, 0]


def test_a_kind_that_nothing_tells():
    assert feature_of([None]) is None
    assert feature([], kind="text")[0] == Feature("text")


@pytest.mark.parametrize(
    ("values", "declared", "bad", "message"),
    [
        (["a"], {}, 3, "expected a text, got 3"),
        (["a"], {}, ["b"], r"expected a text, got \['b'\]"),
        ([3], {}, "x", "expected a number, got 'x'"),
        ([3], {}, [3], "expected a number"),
        ([["a"]], {}, 3, "expected a list, got 3"),
        ([["a"]], {}, ["b", 3], "expected texts, got 3 among them"),
        ([["a"]], {}, [None], "expected texts, got None among them"),
        ([[1]], {}, ["x"], "expected a number, got 'x'"),
        (["no"], {"classes": CLASSES}, "maybe", "'maybe' is not one of its 2 classes"),
        (["no"], {"classes": CLASSES}, 2, "2 is not one of its 2 classes"),
        (["no"], {"classes": CLASSES}, "-2", "'-2' is not one of"),
        (["no"], {"classes": CLASSES}, 0.5, "0.5 is not one of"),
        (["no"], {"classes": CLASSES}, ["no"], "is not one of"),
        ([1], {"classes": ("1", "2", "3")}, 0, "0 is not one of its 3 classes"),
        (["1"], {"classes": ("1", "2", "3"), "cells": True}, "0", "'0' is not one of its 3"),
        ([1], {"classes": ("1", "01")}, 1.5, "1.5 is not one of its 2 classes"),
        (["1"], {"classes": ("1.0", "01")}, "1", "label '1' could be '1.0' or '01'"),
        (["no"], {"classes": CLASSES}, True, "True is not one of its 2 classes"),
        ([True], {"classes": ("true", "false")}, 1, "label 1 could be a truth value or a number"),
        ([1], {"kind": "label"}, -2, "-2 is not the number of a class"),
        ([1], {"kind": "label"}, "a", "'a' is not the number of a class"),
        (["a"], {}, {"b": "x" * 100}, r"got \{'b': 'x{48,51}\.\.\.$"),
    ],
)
def test_values_that_do_not_fit(values, declared, bad, message):
    with pytest.raises(ValueError, match=message):
        feature(values, **declared)[1](bad)


def test_numbers_beyond_float32_are_named():
    _, number = feature([1.0], kind="number")
    convert = in_float32(number)
    largest = float(np.finfo(np.float32).max)
    for value in (largest, -largest, 0, None, "", "3.4e38", 10**38):
        assert convert(value) == number(value)
    assert math.isnan(convert(math.nan)) and math.isnan(convert("nan"))
    for value in (2 * largest, -1e39, 10**400, -(10**400), math.inf, "1e400", f"1{'0' * 400}"):
        with pytest.raises(ValueError, match="beyond float32") as error:
            convert(value)
        assert len(str(error.value)) < 150
    _, numbers = feature([[1.0]], kind="numbers")
    with pytest.raises(ValueError, match="1e\\+39 is beyond float32"):
        in_float32(numbers)([1, 1e39])


@pytest.mark.parametrize("classes", [(), ("a", "b")])
def test_infinite_labels_are_refused(classes):
    _, label = feature([1], kind="label", classes=classes)
    assert finite(label)(1) == 1 and finite(label)(math.nan) == -1
    with pytest.raises(ValueError, match="an infinite number is no label"):
        finite(label)(math.inf)

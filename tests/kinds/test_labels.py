import itertools

import pytest

from mtljax.kinds.labels import (
    Indicators,
    as_class,
    class_names_of,
    declared_class,
    indexed,
    is_missing,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 0), (1.0, 1), ("b", 1), (" b ", 1), (-1, -1), (-100, -1), (None, -1), (float("nan"), -1)],
)
def test_classes_of_values(value, expected):
    assert as_class(value, indexed(("a", "b"))) == expected


@pytest.mark.parametrize("value", [2, -2, 0.5, "c", 10**12, 10**400, True, "0"])
def test_values_that_are_no_class(value):
    with pytest.raises(ValueError, match="label"):
        as_class(value, indexed(("a", "b")))


@pytest.mark.parametrize("value", [None, "", " ", -1, "-1", -1.0, "-1.0", -100, "-100"])
def test_missing_labels(value):
    assert is_missing(value)
    for names, numbered in itertools.product([("a", "b"), ("1", "2")], [True, False]):
        assert as_class(value, indexed(names, numbered)) == -1
        assert declared_class(value, indexed(names)) == -1


# What an author may write for the third of five stars, in JSON and in a table.
@pytest.mark.parametrize("value", [3, 3.0, "3", "3.0", " 3 "])
@pytest.mark.parametrize("names", ["12345", ("5", "4", "3"), ("1.0", "2.0", "3.0")])
def test_a_label_is_what_its_author_wrote(value, names):
    expected = [float(name) for name in names].index(3.0)
    assert as_class(value, indexed(tuple(names), numbered=False)) == expected
    assert declared_class(value, indexed(tuple(names))) == expected


def test_numbers_that_name_no_class():
    stars = indexed(("1", "2", "3"))
    assert [declared_class(value, stars) for value in (0, "0", 4, -2, 1.5)] == [None] * 5
    for value in (0, "0", 4, -2, 1.5):
        with pytest.raises(ValueError, match="does not occur in train"):
            as_class(value, indexed(("1", "2", "3"), numbered=False))


def test_a_set_of_indicators_is_also_a_list_of_tags():
    flags = Indicators([0, 1], [1])
    assert (flags, flags.chosen) == ([0, 1], [1])


def test_names_of_numbers_of_any_size():
    assert class_names_of([0, 10**400]) == ("0", str(10**400))

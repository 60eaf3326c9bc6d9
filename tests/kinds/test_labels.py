import pytest

from mtljax.kinds.labels import as_class, indexed


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0), (1.0, 1), ("b", 1), (-1, -1), (None, -1), (float("nan"), -1)]
)
def test_classes_of_values(value, expected):
    assert as_class(value, indexed(("a", "b"))) == expected


@pytest.mark.parametrize("value", [2, -2, 0.5, "c", 10**12])
def test_values_that_are_no_class(value):
    with pytest.raises(ValueError, match="label"):
        as_class(value, indexed(("a", "b")))

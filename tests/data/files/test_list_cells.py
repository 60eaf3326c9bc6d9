import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtljax.data.files.list_cells import split_cell

WORDS = st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=6), max_size=5)


@given(WORDS)
@settings(deadline=None)
def test_lists_of_texts_are_read_as_they_were_written(words):
    assert split_cell(repr(words)) == words
    assert split_cell(json.dumps(words)) == words
    assert split_cell(json.dumps(words, ensure_ascii=False)) == words


@pytest.mark.parametrize("items", [[1, -2, 3], [0.5, 2.0], [], [True, False, None], ["a", 1]])
def test_lists_of_other_items(items):
    assert split_cell(f" {items!r}\n") == items
    assert split_cell(json.dumps(items)) == items


@pytest.mark.parametrize("items", [["EU", "rejects", "it's"], [1, 0, 1], [1.5, 2.0]])
def test_lists_as_numpy_prints_them(items):
    assert split_cell(str(np.array(items))) == items


@pytest.mark.parametrize(
    "cell",
    [
        "[EU rejects]",
        "[EU, rejects]",
        "['a', 'b'",
        "['a' 'b', 'c']",
        "['a''b']",
        "[['a'], ['b']]",
        "[0 1 ... 8 9]",
        "[{}]",
        "[ laughs ] well",
        "[" * 100_000,
        "[__import__('os')]",
        r"['\x']",
    ],
)
def test_what_begins_as_a_list_is_never_split_at_blanks(cell):
    with pytest.raises(ValueError, match="begins with '\\[' and is no list") as error:
        split_cell(cell)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("cell", "separator", "items"),
    [
        (" a  b ", None, ["a", "b"]),
        ("", None, []),
        (" ", ";", []),
        ("New York; Rome", ";", ["New York", "Rome"]),
        ("a||b", "|", ["a", "", "b"]),
        ("[CLS];[SEP]", ";", ["[CLS]", "[SEP]"]),
        ("[ laughs ]  well", " ", ["[", "laughs", "]", "well"]),
        ("['a', 'b']", ",", ["a", "b"]),
    ],
)
def test_separators(cell, separator, items):
    assert split_cell(cell, separator) == items


def test_quotes_are_never_split():
    with pytest.raises(ValueError, match="is no list"):
        split_cell("['a', b]", ",")

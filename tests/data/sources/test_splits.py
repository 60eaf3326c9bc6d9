import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data.sources.splits import require_rows, select_splits, slice_rows, with_validation
from mtljax.errors import UserError
from mtljax.tasks import Dataset, parse_slices
from tests.data.sources.lazy import lazy


@given(st.integers(0, 45), st.data())
def test_every_tenth_row_is_held_out(size, data):
    items = [{"x": i} for i in range(size)]
    splits = with_validation({"train": lazy(items), "test": items})
    train = [row for i, row in enumerate(items) if i % 10 != 9]
    assert list(splits["validation"]) == items[9::10]
    assert list(splits["train"]) == train
    index = data.draw(st.slices(len(train)))
    assert splits["train"][index] == train[index]
    assert splits["test"] is items


def test_a_validation_split_stays():
    splits = {"train": [{}], "validation": []}
    assert with_validation(splits) == splits


@given(st.integers(0, 12), st.integers(-14, 14), st.integers(-14, 14))
def test_a_slice_is_that_of_the_list_or_an_error_when_used(size, start, stop):
    items = [{"x": i} for i in range(size)]
    rows = slice_rows(lazy(items), parse_slices(f"train[{start}:{stop}]")[0], "mine", "test")
    if max(abs(start), abs(stop)) > size:
        with pytest.raises(UserError, match="source 'mine', split 'test': the slice reaches row"):
            list(rows)
    else:
        assert list(rows) == items[start:stop]


def test_splits_are_slices_of_those_of_another_set():
    items = [{"x": i} for i in range(10)]
    splits = {"train": "train[:80%]+dev", "test": "train[80%:]"}
    dataset = Dataset("mine", dataset="other", splits=splits)  # pyright: ignore
    found = select_splits(
        dataset, {"train": items, "validation": [{"x": 99}]}, {"dev": "validation"}
    )
    assert list(found["train"]) == [*items[:8], {"x": 99}] and list(found["test"]) == items[8:]
    with pytest.raises(UserError, match="split 'train': 'other' has no split 'dev'"):
        select_splits(dataset, {"train": items})


def test_no_rows_are_an_error_when_they_are_used():
    rows = require_rows(lazy([]), "mine", "test")
    with pytest.raises(UserError, match="source 'mine', split 'test': no rows"):
        len(rows)

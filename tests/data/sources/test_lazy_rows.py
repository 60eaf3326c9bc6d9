import pytest
from hypothesis import given
from hypothesis import strategies as st

import mtljax.data.sources.lazy_rows as rows_module
from mtljax.data.sources.lazy_rows import Rows, concatenated, mapped, subrange
from mtljax.data.sources.splits import with_validation
from tests.data.sources.lazy import lazy


@given(st.lists(st.integers(), max_size=30), st.data())
def test_rows_are_a_sequence_like_the_list(items, data):
    rows = lazy(items)
    assert list(rows) == items and len(rows) == len(items)
    index = data.draw(st.slices(len(items)))
    assert rows[index] == items[index]
    place = data.draw(st.integers(-35, 35))
    if -len(items) <= place < len(items):
        assert rows[place] == items[place]
    else:
        with pytest.raises(IndexError):
            rows[place]


@given(st.lists(st.lists(st.integers(), max_size=8), min_size=1, max_size=4), st.data())
def test_concatenated(lists, data):
    whole = [item for items in lists for item in items]
    rows = concatenated([lazy(items) for items in lists])
    assert list(rows) == whole
    index = data.draw(st.slices(len(whole)))
    assert rows[index] == whole[index]


def test_subrange_and_mapped():
    rows = subrange(lazy([{"x": i} for i in range(10)]), lambda size: range(size // 2, size - 1))
    assert [row["x"] for row in rows] == [5, 6, 7, 8]
    assert [row["x"] for row in rows[1:3]] == [6, 7]
    assert list(mapped(rows, lambda row: {"y": row["x"] * 2}))[-1] == {"y": 16}


def test_going_through_rows_holds_a_block_at_a_time(monkeypatch):
    monkeypatch.setattr(rows_module, "_BLOCK", 7)
    sizes = []

    def read(start, stop):
        sizes.append(stop - start)
        return [{"x": i} for i in range(start, stop)]

    source = Rows(lambda: 1000, read)
    splits = with_validation({"train": concatenated([source, source])})
    assert (
        sum(row["x"] for row in splits["train"]) + sum(row["x"] for row in splits["validation"])
        == sum(range(1000)) * 2
    )
    assert max(sizes) <= 7 * 10

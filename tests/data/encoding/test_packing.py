import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data.encoding.packing import pack, reshuffle, spans

lengths_lists = st.lists(st.integers(1, 20), min_size=1, max_size=200)


def check(packing, lengths, row_length, max_segments):
    assert sorted(packing.slots.tolist()) == list(range(len(lengths)))
    for begin, end in zip(packing.rows[:-1], packing.rows[1:], strict=True):
        assert 1 <= end - begin <= min(packing.max_segments, max_segments)
        assert lengths[packing.slots[begin:end]].sum() <= row_length


@given(lengths_lists, st.integers(20, 40), st.integers(1, 10), st.integers(0, 3))
def test_each_example_once_and_no_row_too_full(lengths, row_length, max_segments, seed):
    lengths = np.array(lengths)
    packing = pack(lengths, row_length, max_segments, seed)
    check(packing, lengths, row_length, max_segments)
    again = reshuffle(packing, lengths, np.random.default_rng(seed))
    check(again, lengths, row_length, max_segments)
    assert again.num_rows == packing.num_rows


@given(lengths_lists)
def test_at_most_one_row_is_half_empty(lengths):
    # Best fit never opens a row while an example fits another one.
    lengths = np.array(lengths)
    packing = pack(lengths, 20, max_segments=1000)
    filled = [
        lengths[packing.slots[a:b]].sum()
        for a, b in zip(packing.rows[:-1], packing.rows[1:], strict=True)
    ]
    assert sum(fill <= 10 for fill in filled) <= 1


def test_little_is_wasted():
    lengths = np.random.default_rng(0).integers(3, 45, size=5000)
    packing = pack(lengths, 64)
    assert lengths.sum() / (64 * packing.num_rows) > 0.95


def test_epochs_differ():
    lengths = np.random.default_rng(0).integers(3, 45, size=500)
    packing = pack(lengths, 64)
    one, two = (reshuffle(packing, lengths, np.random.default_rng(i)) for i in (1, 2))
    assert (one.slots != two.slots).mean() > 0.9


def test_nothing_to_pack():
    assert pack(np.zeros(0, int), 8).num_rows == 0


@pytest.mark.parametrize("lengths", [[0], [9], [3, 9]])
def test_bad_lengths(lengths):
    with pytest.raises(ValueError, match="from 1 to 8"):
        pack(np.array(lengths), 8)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5))))
def test_spans(pairs):
    expected = [i for begin, n in pairs for i in range(begin, begin + n)]
    begin, lengths = np.array(pairs, int).reshape(-1, 2).T
    assert spans(begin, lengths).tolist() == expected

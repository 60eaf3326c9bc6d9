import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.metrics import compute, distinct_n, merge, repetition

TEXTS = st.lists(st.lists(st.sampled_from("abc"), max_size=6).map(" ".join), max_size=4)


@given(TEXTS, st.integers(1, 3))
def test_counts_by_hand(texts, n):
    grams = [[t.split()[i : i + n] for i in range(len(t.split()) - n + 1)] for t in texts]
    flat = [tuple(gram) for own in grams for gram in own]
    expected = len(set(flat)) / len(flat) if flat else 0.0
    assert distinct_n(texts, n) == expected
    again = sum(gram in own[:i] for own in grams for i, gram in enumerate(own))
    assert repetition(texts, n) == (again, len(flat))


def test_extremes():
    assert distinct_n(["a b c"], 1) == 1.0
    assert float(compute(repetition(["a a a a a"], 1))) == pytest.approx(0.8)
    assert merge(repetition(["a a"], 1), repetition(["a a"], 1)) == (2, 4)  # texts stand apart


@pytest.mark.parametrize("function", [distinct_n, repetition])
def test_n_from_1(function):
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        function(["a"], 0)

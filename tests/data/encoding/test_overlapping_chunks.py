from hypothesis import given
from hypothesis import strategies as st

from mtljax.data.encoding.overlapping_chunks import chunks


@given(st.lists(st.integers(1, 9), max_size=80), st.integers(1, 20))
def test_every_word_is_tagged_once_in_a_chunk_that_holds_it(pieces, limit):
    found = chunks(pieces, limit)
    tagged = [word for c in found for word in range(c.first, c.last)]
    assert tagged == list(range(len(pieces)))
    for c in found:
        assert c.begin <= c.first <= c.last <= c.end
        assert sum(pieces[c.begin : c.end]) <= limit or c.end == c.begin + 1


@given(st.integers(0, 300), st.integers(8, 40))
def test_inner_words_have_context_on_both_sides(count, limit):
    for c in chunks([1] * count, limit):
        if c.begin:
            assert c.first - c.begin >= limit // 4 - 1
        if c.end < count:
            assert c.end - c.last >= limit // 4 - 1


def test_a_short_text_is_one_chunk():
    assert [tuple(c) for c in chunks([1, 1], 5)] == [(0, 2, 0, 2)]
    assert [tuple(c) for c in chunks([], 5)] == [(0, 0, 0, 0)]

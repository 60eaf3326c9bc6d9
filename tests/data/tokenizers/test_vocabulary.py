from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mtljax.data.tokenizers.vocabulary import vocabulary


@given(st.lists(st.text("abcd"), max_size=4), st.integers(1, 3))
def test_one_corpus_has_each_often_enough(corpora, least):
    found = vocabulary(map(Counter, corpora), least)
    together = "".join(corpora)
    assert set(found) == {c for c in "abcd" if any(text.count(c) >= least for text in corpora)}
    assert found == sorted(found, key=lambda c: (-together.count(c), c))

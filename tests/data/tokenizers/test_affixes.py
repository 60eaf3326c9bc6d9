from hypothesis import given
from hypothesis import strategies as st

from mtljax.data import TokenizerSettings
from mtljax.data.tokenizers.affixes import affix_ids, shape


@given(st.text())
def test_every_word_has_a_short_shape(word):
    assert len(shape(word)) <= 8


@given(st.text(max_size=6), st.integers(1, 50))
def test_ids_are_in_range(word, buckets):
    settings = TokenizerSettings(prefixes=(1, 3), suffixes=(2,), affix_buckets=buckets)
    ids = affix_ids(word, settings)
    assert len(ids) == settings.affixes == 4
    form = word.lower()
    assert [i > 0 for i in ids[:3]] == [len(form) >= n for n in (1, 3, 2)]
    assert ids[3] > 0 and max(ids) <= buckets

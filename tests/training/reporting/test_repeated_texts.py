import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data.encoding.examples import Examples
from mtljax.training.reporting.repeated_texts import repeated_texts


def examples(texts):
    ids = [id for text in texts for id in text]
    starts = np.cumsum([0, *map(len, texts)])
    tokens = np.asarray(ids, np.int32)
    affixes = np.stack([tokens // 2, tokens % 3], axis=1)
    return Examples(tokens, affixes, starts, np.arange(len(texts), dtype=np.int32), {}, {})


TEXTS = st.lists(st.lists(st.integers(0, 3), max_size=3), max_size=30)


@given(TEXTS, TEXTS)
def test_shares_are_those_of_texts_compared_one_by_one(train, validation):
    shares = repeated_texts({"train": examples(train), "validation": examples(validation)})
    if not validation:
        assert shares == {}
    else:
        repeated = sum(text in train for text in validation)
        assert shares == {"validation": repeated / len(validation)}


def test_nothing_to_compare():
    assert repeated_texts({"train": examples([[1]])}) == {}

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data.tokenizers.spelling import spell


def twice(text):
    """Two ids a character."""
    return np.repeat(np.array([10 + ord(c) for c in text], np.int32), 2)


@given(st.lists(st.text("ab", max_size=3), max_size=4), st.none() | st.integers(0, 9))
def test_words_against_a_list_of_pairs(words, limit):
    pairs = [(2, -1)]
    for index, word in enumerate(words):
        if index:
            pairs.append((7, -1))
        ids = [10 + ord(c) for c in word for _ in range(2)] or [1]
        pairs += zip(ids, [index, *[-1] * (len(ids) - 1)], strict=True)
    if limit is not None:
        pairs = pairs[: max(limit, 1)]
    encodings = spell([words, "a"], twice, 7, limit)
    assert encodings.starts[1] == len(pairs)
    found = zip(encodings.tokens.tolist(), encodings.words.tolist(), strict=True)
    assert list(found)[: len(pairs)] == pairs


def test_texts():
    encodings = spell(["ab", ""], twice, 7, None)
    assert encodings.tokens.tolist() == [2, 107, 107, 108, 108, 2]
    assert (encodings.words == -1).all()
    assert encodings.affixes.shape == (6, 0)

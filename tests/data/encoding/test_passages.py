import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data import TokenizerSettings
from mtljax.data.encoding.overlapping_chunks import chunks
from mtljax.data.encoding.passages import cut_off, overlapping
from mtljax.data.tokenizers import train_tokenizer

TEXTS = [["the", "cat", "and", "the", "hat"], ["the", "mat"]]
TOKENIZERS = {
    kind: train_tokenizer([TEXTS], TokenizerSettings(kind, vocab_size=size, min_count=1))
    for kind, size in (("words", 260), ("bpe", 265), ("character", 260))
}
WORDS = ["the", "cat", "unheard", "q", "mat", ""]


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(
    texts=st.lists(st.lists(st.sampled_from(WORDS[:5]), max_size=30), max_size=4),
    limit=st.integers(3, 20),
)
def test_passages_are_chunks_of_words_encoded_alone(kind, texts, limit):
    tokenizer = TOKENIZERS[kind]
    encodings = tokenizer.encode(texts)
    gap = tokenizer.settings.word_gap
    found = overlapping(encodings, limit, gap)
    expected, rows, counted_words = [], [], []
    for row, words in enumerate(texts):
        alone = tokenizer.encode([[word] for word in words])
        sizes = (np.diff(alone.starts) - 1 + gap).tolist()
        for chunk in chunks(sizes, limit - 1 + gap):
            expected.append(tokenizer.encode([words[chunk.begin : chunk.end]], limit).tokens)
            rows.append(row)
            counted_words.append(chunk.last - chunk.first)
    assert found.rows.tolist() == rows
    tokens = encodings.tokens[found.indices]
    assert len(found.starts) == len(expected) + 1
    for i, passage in enumerate(expected):
        inside = slice(found.starts[i], found.starts[i + 1])
        assert tokens[inside].tolist() == passage.tolist()
        begins = encodings.words[found.indices[inside]] >= 0
        assert (begins & found.counted[inside]).sum() == counted_words[i]
    # Every word counts once.
    begins = encodings.words[found.indices] >= 0
    counted = found.indices[begins & found.counted]
    assert counted.tolist() == np.flatnonzero(encodings.words >= 0).tolist()


def test_texts_that_fit_are_as_they_were():
    encodings = TOKENIZERS["words"].encode([["the", "cat"], [], ["mat"]])
    for passages in (
        overlapping(encodings, 3, 0),
        cut_off(encodings, 3),
        cut_off(encodings, 3, True),
    ):
        assert passages.indices.tolist() == list(range(len(encodings.tokens)))
        assert passages.starts.tolist() == encodings.starts.tolist()
        assert passages.counted.all() and passages.rows.tolist() == [0, 1, 2]


def test_no_texts():
    assert overlapping(TOKENIZERS["words"].encode([]), 8, 0).starts.tolist() == [0]

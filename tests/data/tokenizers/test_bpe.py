import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data import TokenizerSettings, load_embedded
from mtljax.data.tokenizers import SPECIALS, START, BytePairTokenizer

CORPUS = [["the cat sat on the mat"] * 5, [["the", "mat"]] * 3]


@pytest.fixture(scope="module")
def tokenizer():
    settings = TokenizerSettings(kind="bpe", vocab_size=300, lowercase=False)
    return BytePairTokenizer.train(CORPUS, settings)


def test_specials_come_first(tokenizer):
    assert tokenizer.pieces[:4] == SPECIALS
    assert tokenizer.vocab_size <= 300
    assert "Ġthe" in tokenizer.pieces


@given(text=st.text(st.characters(codec="utf-8")))
def test_decoding_gives_the_text_back(tokenizer, text):
    # A space is put before the first word, where there is none.
    decoded = tokenizer.decode(tokenizer.encode([text]).tokens.tolist())
    assert decoded == text.removeprefix(" ")


def test_labels_align_with_first_pieces(tokenizer):
    words = ["the", "", "zebra", "mat", "\ud800"]
    encodings = tokenizer.encode([words, ["the"]])
    begins = encodings.words >= 0
    assert encodings.words[begins].tolist() == [0, 1, 2, 3, 4, 0]
    assert encodings.words[0] == -1 and encodings.tokens[0] == START
    # Every piece that begins no word continues the one before it, or starts a text.
    assert len(encodings.tokens) > begins.sum() + 2
    second = encodings.starts[1]
    assert encodings.words[second:].tolist() == [-1, 0]


def test_a_list_and_a_text_of_the_same_words_have_the_same_pieces(tokenizer):
    text, words = "the cat sat", ["the", "cat", "sat"]
    one, two = tokenizer.encode([text]).tokens, tokenizer.encode([words]).tokens
    assert one.tolist() == two.tolist()


def test_text_that_looks_like_a_special_piece(tokenizer):
    ids = tokenizer.encode(["<s> </s> <pad>"]).tokens[1:]
    assert (ids >= len(SPECIALS)).all()


@given(texts=st.lists(st.text() | st.lists(st.text()), max_size=4), limit=st.integers(1, 6))
def test_any_text_at_all(tokenizer, texts, limit):
    encodings = tokenizer.encode(texts, limit)
    lengths = np.diff(encodings.starts)
    assert len(lengths) == len(texts) and (lengths >= 1).all() and (lengths <= limit).all()


@pytest.mark.parametrize("text", ["", "\x00", "\ud800 x", "a" * 10**6, "b " * 500_000])
def test_odd_text(tokenizer, text):
    assert 1 <= len(tokenizer.encode([text, [text]], max_length=64).tokens) <= 128


def test_what_is_cut_off_does_not_change_what_is_kept(tokenizer):
    text = "the cat sat on the mat and " * 50
    whole = tokenizer.encode([text]).tokens
    assert tokenizer.encode([text], max_length=40).tokens.tolist() == whole[:40].tolist()


def test_lower_casing_is_a_setting():
    lower = BytePairTokenizer.train(CORPUS, TokenizerSettings(kind="bpe", vocab_size=300))
    assert lower.decode(lower.encode(["The CAT"]).tokens.tolist()) == "the cat"


def test_training_twice_gives_the_same_pieces():
    texts = [row["text"] for row in load_embedded("amazon_sentiment").splits["train"]]
    settings = TokenizerSettings(kind="bpe", vocab_size=1000)
    one, two = (BytePairTokenizer.train([texts], settings) for _ in range(2))
    assert one.pieces == two.pieces and one.to_json() == two.to_json()

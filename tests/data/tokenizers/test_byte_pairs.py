import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data import TokenizerSettings
from mtljax.data.catalogue.embedded import load_embedded
from mtljax.data.tokenizers import train_tokenizer
from mtljax.data.tokenizers.byte_pairs import train_byte_pairs
from mtljax.errors import UserError
from mtljax.special_tokens import SPECIALS

CORPUS = [["the cat sat on the mat"] * 5, [["the", "mat"]] * 3]
SETTINGS = TokenizerSettings("bpe", vocab_size=300, lowercase=False)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(CORPUS, SETTINGS)


@pytest.fixture(scope="module")
def library():
    return tokenizers.Tokenizer.from_str(train_byte_pairs(CORPUS, SETTINGS))


def test_specials_come_first(tokenizer):
    assert tokenizer.pieces[:4] == SPECIALS
    assert tokenizer.vocab_size <= 300
    assert "Ġthe" in tokenizer.pieces


@given(text=st.text(st.characters(codec="utf-8")))
def test_decoding_gives_the_text_back(tokenizer, text):
    # A space is put before the first word, where there is none.
    decoded = tokenizer.decode(tokenizer.encode([text]).tokens.tolist())
    assert decoded == text.removeprefix(" ")


@given(text=st.text("the cat\n") | st.text(st.characters(codec="utf-8")))
def test_pieces_are_those_of_the_library(tokenizer, library, text):
    ids = library.encode(text, add_special_tokens=False).ids
    assert tokenizer.encode([text]).tokens[1:].tolist() == ids


def test_a_list_and_a_text_of_the_same_words_have_the_same_pieces(tokenizer):
    text, words = "the cat sat", ["the", "cat", "sat"]
    one, two = tokenizer.encode([text]).tokens, tokenizer.encode([words]).tokens
    assert one.tolist() == two.tolist()


def test_a_long_text_is_cut_off(tokenizer):
    text = "the cat sat on the mat and " * 50
    whole = tokenizer.encode([text]).tokens
    assert tokenizer.encode([text], max_length=40).tokens.tolist() == whole[:40].tolist()


def test_lower_casing_is_a_setting():
    lower = train_tokenizer(CORPUS, TokenizerSettings("bpe", vocab_size=300))
    assert lower.decode(lower.encode(["The CAT"]).tokens.tolist()) == "the cat"


def test_training_twice_gives_the_same_pieces():
    texts = [row["text"] for row in load_embedded("amazon_sentiment").splits["train"]]
    settings = TokenizerSettings("bpe", vocab_size=1000)
    one, two = (train_tokenizer([texts], settings) for _ in range(2))
    assert one.pieces == two.pieces and one.to_json() == two.to_json()


@pytest.mark.parametrize("kind", ["words", "bpe", "wordpiece", "character"])
def test_an_error_of_a_data_set_comes_through(kind):
    def texts():
        yield "a cat"
        raise UserError("row 2: cut short")

    with pytest.raises(UserError, match="row 2: cut short"):
        train_tokenizer([texts()], TokenizerSettings(kind, vocab_size=300))

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data import TokenizerSettings
from mtljax.data.catalogue.embedded import load_embedded
from mtljax.data.tokenizers import CharacterTokenizer, train_tokenizer
from mtljax.data.tokenizers.characters import lower_each, train_characters
from mtljax.special_tokens import OOV, SPECIALS, START

EXACT = TokenizerSettings("character", lowercase=False, min_count=1)
LOWER = TokenizerSettings("character", min_count=1)


def test_a_character_enters_when_one_corpus_has_it_often_enough():
    settings = TokenizerSettings("character")
    tokenizer = train_tokenizer([["Aab", " "], ["bccc", "\n\n"]], settings)
    assert tokenizer.pieces == (*SPECIALS, "c", "\n", "a")


def test_words_of_a_list_are_counted_with_the_spaces_between_them():
    assert train_characters([[["x", "x", "x"], []]], TokenizerSettings("character")) == ["x", " "]


def test_encoding():
    tokenizer = CharacterTokenizer(["a", "b", " "], EXACT)
    encodings = tokenizer.encode(["ab\n", ["ab", "", "B"]])
    assert encodings.tokens.tolist() == [START, 4, 5, OOV, START, 4, 5, 6, OOV, 6, OOV]
    assert encodings.words.tolist() == [-1, -1, -1, -1, -1, 0, -1, -1, 1, -1, 2]
    assert encodings.starts.tolist() == [0, 4, 11]
    assert tokenizer.decode([4, OOV, 5]) == "a\ufffdb"


@given(st.text())
def test_decoding_is_exact(text):
    tokenizer = train_tokenizer([[text]], EXACT)
    ids = tokenizer.encode([text]).tokens
    assert tokenizer.decode(ids.tolist()) == text
    assert len(ids) == 1 + len(text) and tokenizer.vocab_size == 4 + len(set(text))


def test_decoding_of_lone_surrogates_and_spaces():
    text = " \ud83d\ude00\x00\r\n\t  z "
    tokenizer = train_tokenizer([[text]], EXACT)
    assert tokenizer.decode(tokenizer.encode([text]).tokens.tolist()) == text


@given(st.text(st.characters() | st.sampled_from("ΣİẞIΑ")))
def test_lower_casing_is_that_of_each_character(text):
    assert lower_each(text) == "".join(character.lower() for character in text)
    tokenizer = train_tokenizer([[text]], LOWER)
    ids = tokenizer.encode([text]).tokens.tolist()
    assert tokenizer.decode(ids) == lower_each(text) and OOV not in ids


def test_a_real_text():
    texts = [row["text"] for row in load_embedded("moby_dick").splits["train"]][:50]
    tokenizer = train_tokenizer([texts], EXACT)
    encodings = tokenizer.encode(texts)
    assert tokenizer.decode(encodings.tokens.tolist()) == "".join(texts)
    known = set(tokenizer.pieces[4:])
    assert known == set("".join(texts))


def test_an_empty_corpus():
    tokenizer = train_tokenizer([], LOWER)
    assert tokenizer.vocab_size == 4
    assert tokenizer.encode(["a", ["a", "b"]]).tokens.tolist() == [2, 1, 2, 1, 1, 1]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_truncation_where_lower_casing_makes_two_characters_of_one(limit):
    tokenizer = train_tokenizer([["İx"]], LOWER)
    assert len(tokenizer.encode(["İx"]).tokens) == 4
    assert len(tokenizer.encode(["İx"], limit).tokens) == limit

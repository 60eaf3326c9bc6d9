from hypothesis import given
from hypothesis import strategies as st

from mtljax.data import TokenizerSettings
from mtljax.data.tokenizers import ByteTokenizer
from mtljax.special_tokens import OOV, START

TOKENIZER = ByteTokenizer(TokenizerSettings("byte"))


def test_vocabulary():
    assert TOKENIZER.vocab_size == 260
    assert TOKENIZER.pieces[4 + ord("A")] == "<0x41>"


@given(st.text(st.characters(codec="utf-8")))
def test_decoding_is_exact(text):
    ids = TOKENIZER.encode([text]).tokens
    assert ids[1:].tolist() == [4 + byte for byte in text.encode()]
    assert TOKENIZER.decode(ids.tolist()) == text


@given(st.binary())
def test_any_bytes_can_be_shown(content):
    assert TOKENIZER.decode([4 + byte for byte in content]) == content.decode("utf-8", "replace")


def test_words():
    encodings = TOKENIZER.encode([["é", "", "A"]])
    e, space = [4 + byte for byte in "é".encode()], 4 + ord(" ")
    assert encodings.tokens.tolist() == [START, *e, space, OOV, space, 4 + ord("A")]
    assert encodings.words.tolist() == [-1, 0, -1, -1, 1, -1, 2]
    assert TOKENIZER.decode(encodings.tokens.tolist()) == "é  A"


def test_a_character_may_be_cut_in_two():
    ids = TOKENIZER.encode(["aé"], max_length=3).tokens.tolist()
    assert TOKENIZER.decode(ids) == "a\ufffd"


def test_a_lone_surrogate_is_a_question_mark():
    assert TOKENIZER.decode(TOKENIZER.encode(["a\ud800"]).tokens.tolist()) == "a?"

"""What holds for tokenizers of every kind."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data import TokenizerSettings
from mtljax.data.tokenizers import Tokenizer, train_tokenizer
from mtljax.special_tokens import SPECIALS, START

# Few characters, so that the words of the corpus come up, and any.
WORD = st.text("thecat \n.") | st.text()
TEXT = WORD | st.lists(WORD, max_size=6)


def pieces_of(encodings, i):
    at = slice(encodings.starts[i], encodings.starts[i + 1])
    return encodings.tokens[at].tolist(), encodings.words[at].tolist()


def test_protocol(tokenizer):
    assert isinstance(tokenizer, Tokenizer)
    own = tokenizer.settings.kind != "pretrained"
    assert tokenizer.pieces[:4] == (SPECIALS if own else ("[PAD]", "[UNK]", "[CLS]", "[SEP]"))
    assert tokenizer.vocab_size == len(tokenizer.pieces)
    assert len(tokenizer.fingerprint) == 64


@given(texts=st.lists(TEXT, max_size=4), limit=st.none() | st.integers(1, 6))
def test_form(tokenizer, texts, limit):
    encodings = tokenizer.encode(texts, limit)
    lengths = np.diff(encodings.starts)
    assert encodings.starts[0] == 0 and len(lengths) == len(texts)
    assert (lengths >= 1).all() and (limit is None or (lengths <= limit).all())
    total = encodings.starts[-1]
    assert encodings.tokens.shape == encodings.words.shape == (total,)
    assert encodings.affixes.shape == (total, tokenizer.settings.affixes)
    assert encodings.tokens.dtype == encodings.words.dtype == encodings.affixes.dtype == np.int32
    assert (encodings.tokens[encodings.starts[:-1]] == START).all()
    inside = np.delete(encodings.tokens, encodings.starts[:-1])
    # Of the special ones only <oov>, whatever is written.
    assert (inside == 1).sum() + (inside >= 4).sum() == len(inside)
    assert (inside < tokenizer.vocab_size).all()


@given(texts=st.lists(TEXT, max_size=4), limit=st.none() | st.integers(1, 6))
def test_a_text_is_encoded_whatever_stands_beside_it(tokenizer, texts, limit):
    together = tokenizer.encode(texts, limit)
    for i, text in enumerate(texts):
        assert pieces_of(tokenizer.encode([text], limit), 0) == pieces_of(together, i)


@given(text=TEXT, limit=st.integers(1, 12))
def test_what_is_cut_off_does_not_change_what_is_kept(tokenizer, text, limit):
    whole, short = tokenizer.encode([text]), tokenizer.encode([text], limit)
    assert short.tokens.tolist() == whole.tokens[:limit].tolist()
    assert short.words.tolist() == whole.words[:limit].tolist()


@given(words=st.lists(WORD, max_size=6))
def test_every_word_of_a_list_has_a_first_piece(tokenizer, words):
    encodings = tokenizer.encode([words])
    begins = np.flatnonzero(encodings.words >= 0)
    assert encodings.words[begins].tolist() == list(range(len(words)))
    # A word has the same pieces wherever it stands, and then the gap, if there is one.
    gap = tokenizer.settings.word_gap
    ends = [*(begins[1:] - gap), len(encodings.tokens)][: len(words)]
    for word, begin, end in zip(words, begins, ends, strict=True):
        alone = tokenizer.encode([[word]]).tokens[1:]
        assert encodings.tokens[begin:end].tolist() == alone.tolist()
        assert len(alone) >= 1


@pytest.mark.parametrize("text", ["<s> </s> <pad>", "[CLS] [SEP] [PAD][MASK]"])
def test_text_that_looks_like_a_special_piece(tokenizer, text):
    tokens = tokenizer.encode([text]).tokens[1:]
    assert all(i == 1 or i >= 4 for i in tokens)
    own = [i for i, piece in enumerate(tokenizer.pieces) if piece in ("[CLS]", "[SEP]", "[MASK]")]
    assert not set(own) & set(tokens.tolist())


@pytest.mark.parametrize(
    "text", ["", "\x00", "\ud800\udfff x", "a" * 10**6, "b " * 200_000, " " * 10**6, "\n\t\x1c\x85"]
)
def test_odd_text(tokenizer, text):
    encodings = tokenizer.encode([text, [text]], max_length=64)
    assert 1 <= encodings.starts[1] <= 64
    assert 2 <= len(encodings.tokens) - encodings.starts[1] <= 64


def test_no_text_at_all(tokenizer):
    encodings = tokenizer.encode([])
    assert encodings.starts.tolist() == [0] and len(encodings.tokens) == 0
    assert tokenizer.encode([[]]).tokens.tolist() == [START]
    assert tokenizer.decode([]) == ""


def test_special_pieces_are_not_shown(tokenizer):
    ids = tokenizer.encode(["The cat"]).tokens.tolist()
    assert tokenizer.decode([2, 0, *ids, 3, 0]).lower() == "the cat"


@pytest.mark.parametrize("kind", ["words", "bpe", "wordpiece", "character", "byte"])
def test_a_corpus_is_read_once(of_kind, corpus, kind):
    settings = TokenizerSettings(kind, vocab_size=300)
    once = train_tokenizer((iter(texts) for texts in corpus), settings)
    assert once.pieces == of_kind(kind).pieces

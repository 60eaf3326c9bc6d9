import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data import TokenizerSettings
from mtljax.data.catalogue.embedded import load_embedded
from mtljax.data.tokenizers import WordTokenizer, split_words, train_tokenizer
from mtljax.special_tokens import OOV, SPECIALS, START

PLAIN = TokenizerSettings(prefixes=(), suffixes=(), shape=False)


def test_words_and_marks():
    assert split_words("It's 3.5, o’clock—well-known\tX_1") == [
        *("It's", "3", ".", "5", ",", "o’clock", "—", "well", "-", "known", "X_1"),
    ]
    assert split_words("a b c", limit=2) == ["a", "b"]


def test_a_word_enters_when_one_corpus_has_it_often_enough():
    tokenizer = train_tokenizer([["A a b"], ["b c", ["c", "C"]]], PLAIN)
    # b is seen twice, but once in each corpus; c comes first, as it is seen three times.
    assert tokenizer.pieces == (*SPECIALS, "c", "a")
    assert tokenizer.vocab_size == 6


def test_num_words_keeps_the_most_frequent():
    settings = TokenizerSettings(num_words=1)
    assert train_tokenizer([["a a b b b"]], settings).pieces[4:] == ("b",)


def test_min_count_and_case_are_settings():
    settings = TokenizerSettings(min_count=1, lowercase=False)
    assert set(train_tokenizer([["A a b"]], settings).pieces[4:]) == {"A", "a", "b"}


@pytest.mark.parametrize(("name", "classes"), [("movie_lm", 8887), ("moby_dick", 9214)])
def test_vocabulary_of_the_language_models(name, classes):
    """The size includes `<oov>` and the end mark."""
    texts = [row["text"] for row in load_embedded(name).splits["train"]]
    assert train_tokenizer([texts], PLAIN).vocab_size - len(SPECIALS) + 2 == classes


def test_unknown_words_of_movie_lm():
    source = load_embedded("movie_lm")
    train, test = ([row["text"] for row in source.splits[s]] for s in ("train", "test"))
    tokens = train_tokenizer([train], PLAIN).encode(test).tokens
    # One end mark a sentence takes the place of its start mark.
    assert (tokens == OOV).sum() / len(tokens) == pytest.approx(0.069, abs=5e-4)


def test_encoding():
    tokenizer = WordTokenizer(["good", "film"], PLAIN)
    encodings = tokenizer.encode(["Good bad film", "", ["film", "Good film"]])
    assert encodings.tokens.tolist() == [START, 4, OOV, 5, START, START, 5, OOV]
    assert encodings.words.tolist() == [-1, 0, 1, 2, -1, -1, 0, 1]
    assert encodings.starts.tolist() == [0, 4, 5, 8]
    assert encodings.affixes.shape == (8, 0)
    assert tokenizer.encode([]).starts.tolist() == [0]


def test_truncation():
    tokenizer = WordTokenizer(["a"], PLAIN)
    encodings = tokenizer.encode(["a a a a", ["a"] * 9, "a"], max_length=3)
    assert encodings.starts.tolist() == [0, 3, 6, 8]


def test_affixes():
    settings = TokenizerSettings(prefixes=(2,), suffixes=(2, 3), shape=True, affix_buckets=10**6)
    tokenizer = WordTokenizer([], settings)
    rows = tokenizer.encode([["Undoing", "undoing", "unring", "X", "42"]]).affixes
    assert rows.shape == (6, settings.affixes)
    start, title, lower, other, short, digits = rows
    assert start.tolist() == [0, 0, 0, 0]
    assert (title[:3] == lower[:3]).all() and title[3] != lower[3]
    assert lower[0] == other[0] and lower[2] == other[2] and lower[3] == other[3]
    assert short[:3].tolist() == [0, 0, 0] and short[3] > 0
    assert digits[2] == 0 and digits[3] not in (lower[3], short[3])
    # A prefix and a suffix that are spelled alike are two things.
    assert tokenizer.encode([["abab"]]).affixes[1, 0] != tokenizer.encode([["abab"]]).affixes[1, 1]


def test_hashes_are_the_same_in_every_process():
    code = (
        "from mtljax.data import TokenizerSettings\n"
        "from mtljax.data.tokenizers import WordTokenizer\n"
        "print(WordTokenizer([], TokenizerSettings()).encode(['Wörd']).affixes[1].tolist())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = WordTokenizer([], TokenizerSettings()).encode(["Wörd"]).affixes[1]
    assert run.stdout.strip() == str(here.tolist())


@given(st.lists(st.text() | st.lists(st.text()), max_size=5), st.integers(1, 8))
def test_any_text_at_all(texts, max_length):
    settings = TokenizerSettings(affix_buckets=7)
    encodings = WordTokenizer(["a"], settings).encode(texts, max_length)
    assert len(encodings.starts) == len(texts) + 1
    assert (encodings.tokens[encodings.starts[:-1]] == START).all()
    assert (np.diff(encodings.starts) <= max_length).all()
    assert encodings.affixes.min(initial=0) >= 0 and encodings.affixes.max(initial=0) <= 7


@pytest.mark.parametrize("text", ["", "\x00", "\ud800\udfff x", "a" * 10**6, "b " * 500_000])
def test_odd_text(text):
    encodings = WordTokenizer(["a", "b"], TokenizerSettings()).encode([text], max_length=64)
    assert 1 <= len(encodings.tokens) <= 64


def test_decoding():
    tokenizer = WordTokenizer(["good", ",", "(", "yes", ")", "!"], PLAIN)
    ids = tokenizer.encode(["good, (yes)! zzz"]).tokens
    assert tokenizer.decode(ids.tolist()) == "good, (yes)! <oov>"


def test_more_words_than_are_remembered(monkeypatch):
    monkeypatch.setattr("mtljax.data.tokenizers.words._REMEMBERED", 2)
    tokenizer = WordTokenizer(["a", "d"], PLAIN)
    for _ in range(3):
        assert tokenizer.encode(["a b c d"]).tokens.tolist() == [START, 4, OOV, OOV, 5]

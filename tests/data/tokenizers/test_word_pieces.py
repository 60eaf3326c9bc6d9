import hashlib
import subprocess
import sys

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from mtljax.data import TokenizerSettings
from mtljax.data.catalogue.embedded import load_embedded
from mtljax.data.tokenizers import train_tokenizer
from mtljax.data.tokenizers.word_pieces import train_word_pieces
from mtljax.special_tokens import OOV, SPECIALS

CORPUS = [["The cat sat, the cats (3) don't."] * 5, [["The", "mat", "e\u0301t"]] * 3]
SETTINGS = TokenizerSettings("wordpiece", vocab_size=300)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(CORPUS, SETTINGS)


@pytest.fixture(scope="module")
def library():
    return tokenizers.Tokenizer.from_str(train_word_pieces(CORPUS, SETTINGS))


@pytest.fixture(scope="module")
def amazon():
    return [row["text"] for row in load_embedded("amazon_sentiment").splits["train"]]


def longest_first(word, vocabulary):
    """The pieces of a word as the definition has them."""
    found, begin = [], 0
    while begin < len(word):
        prefix = "##" if begin else ""
        ends = range(len(word), begin, -1)
        end = next((e for e in ends if prefix + word[begin:e] in vocabulary), None)
        if end is None:
            return ["<oov>"]
        found.append(prefix + word[begin:end])
        begin = end
    return found


def test_pieces(tokenizer):
    assert tokenizer.pieces[:4] == SPECIALS
    assert {"the", "cat", "##s", "don't", "("} <= set(tokenizer.pieces)
    ids = tokenizer.encode(["The cats"]).tokens
    assert [tokenizer.pieces[i] for i in ids[1:]] in (["the", "cats"], ["the", "cat", "##s"])


@given(words=st.lists(st.text("thecasmdon'", min_size=1), min_size=1))
def test_the_longest_piece_comes_first(tokenizer, library, words):
    vocabulary = set(tokenizer.pieces)
    encodings = tokenizer.encode([" ".join(words)])
    pattern = library.pre_tokenizer.pre_tokenize_str(" ".join(words))
    expected = [piece for word, _ in pattern for piece in longest_first(word, vocabulary)]
    assert [tokenizer.pieces[i] for i in encodings.tokens[1:]] == expected


@given(text=st.text("the cat\n") | st.text(st.characters(codec="utf-8")))
def test_pieces_are_those_of_the_library(tokenizer, library, text):
    assert tokenizer.encode([text]).tokens[1:].tolist() == library.encode(text).ids


def test_unknown_words(tokenizer):
    tokens = tokenizer.encode(["the zebra", ["cat", "zebra", "", "c" * 101]])
    assert (tokens.tokens == OOV).sum() == 4
    assert tokens.words[-4:].tolist() == [0, 1, 2, 3]


def test_decoding_is_readable(tokenizer):
    text = "the cats don't, (the mat) e\u0301t."
    assert tokenizer.decode(tokenizer.encode([text]).tokens.tolist()) == text
    unknown = tokenizer.encode(["the zebra"]).tokens.tolist()
    assert tokenizer.decode(unknown) == "the <oov>"


def test_lower_casing_is_a_setting():
    settings = TokenizerSettings("wordpiece", vocab_size=300, lowercase=False)
    upper = train_tokenizer(CORPUS, settings)
    assert "The" in upper.pieces
    assert upper.decode(upper.encode(["The cat"]).tokens.tolist()) == "The cat"


def test_the_vocabulary_is_never_larger_than_asked_for():
    letters = [chr(0x4E00 + i) * 2 for i in range(400)]
    # The more frequent ones, in lines that are seen more often, are those that stay.
    texts = [" ".join(letters), *[" ".join(letters[:100])] * 3]
    tokenizer = train_tokenizer([texts], SETTINGS)
    assert tokenizer.vocab_size <= 300
    assert OOV not in tokenizer.encode([texts[-1]]).tokens
    assert OOV in tokenizer.encode([texts[0]]).tokens


def test_trained_alike_in_every_process(amazon):
    code = (
        "import hashlib\n"
        "from mtljax.data import TokenizerSettings\n"
        "from mtljax.data.catalogue.embedded import load_embedded\n"
        "from mtljax.data.tokenizers.word_pieces import train_word_pieces\n"
        "texts = [row['text'] for row in load_embedded('amazon_sentiment').splits['train']]\n"
        "settings = TokenizerSettings('wordpiece', vocab_size=1500)\n"
        "print(hashlib.sha256(train_word_pieces([texts], settings).encode()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    settings = TokenizerSettings("wordpiece", vocab_size=1500)
    models = [train_word_pieces([amazon], settings) for _ in range(2)]
    found = {hashlib.sha256(model.encode()).hexdigest() for model in models}
    assert found == {run.stdout.strip()}


def test_merges_are_those_of_the_library(amazon):
    """The library's own way over the same texts differs by how it breaks ties alone."""
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    model = tokenizers.Tokenizer(models.WordPiece(unk_token="<oov>"))
    model.normalizer = normalizers.Lowercase()
    pattern = tokenizers.Regex(r"\w+(?:['’]\w+)*|[^\w\s]")
    model.pre_tokenizer = pre_tokenizers.Split(pattern, "removed", invert=True)
    trainer = trainers.WordPieceTrainer(
        vocab_size=1500, special_tokens=list(SPECIALS), show_progress=False
    )
    model.train_from_iterator(amazon, trainer=trainer)
    ours = train_tokenizer([amazon], TokenizerSettings("wordpiece", vocab_size=1500)).pieces
    assert len(ours) == 1500
    assert len(set(ours) & set(model.get_vocab())) > 1450


def test_an_empty_corpus():
    tokenizer = train_tokenizer([], SETTINGS)
    assert tokenizer.pieces == SPECIALS
    assert tokenizer.encode(["a b", [""]]).tokens.tolist() == [2, 1, 1, 2, 1]

import functools

import flax.linen as nn
import jax
import numpy as np
import pytest

from mtljax.data import TokenizerSettings
from mtljax.data.tokenizers.words import WordTokenizer
from mtljax.modules.embedding import TokenEmbedding
from mtljax.modules.spelling import SpellingEncoder, unpacked
from tests.modules.conftest import drawn

WORDS = ["", "a", "Ünder", "understanding", "дом", "\0"]
READ = 6


@pytest.fixture(scope="module")
def columns():
    """The affixes and characters of some words, none of them in the vocabulary."""
    settings = TokenizerSettings(prefixes=(1,), suffixes=(), shape=False, characters=READ)
    encoded = WordTokenizer([], settings).encode([WORDS])
    assert encoded.affixes.shape == (1 + len(WORDS), 1 + 2) and settings.affixes == 3
    return encoded.affixes


def numbers(word):
    """The characters of a word that are read."""
    kept = word if len(word) <= READ else word[: READ // 2] + word[-READ // 2 :]
    codes = [ord(c) if 0 < ord(c) < 128 else 128 + ord(c) % 128 for c in kept]
    return codes + [0] * (READ - len(codes))


def spelled(params, word):
    """The vector of a word, as the formulas have it."""
    codes = np.array([0, *numbers(word), 0])
    x = np.where(codes[:, None] > 0, params["characters"][codes], 0)
    kernel, bias = params["filters"]["kernel"], params["filters"]["bias"]
    top = np.zeros(len(bias))
    for i in np.flatnonzero(codes):
        top = np.maximum(top, np.concatenate(x[i - 1 : i + 2]) @ kernel + bias)
    return top @ params["out"]


def test_characters_of_unknown_words_are_those_of_the_text(columns):
    found = jax.jit(unpacked, static_argnums=1)(columns[1:, 1:], READ)
    assert found.tolist() == [numbers(word) for word in WORDS]
    # Letters of an alphabet are told apart.
    assert len(set(numbers("домсвт"))) == 6


def test_a_convolution_and_its_maximum(columns):
    module = SpellingEncoder(READ, 5, width=3, filters=4)
    packed = columns[None, :, 1:]
    params = drawn(lambda: nn.unbox(module.init(jax.random.key(0), packed))["params"])
    found = jax.jit(module.apply)({"params": params}, packed)
    expected = [spelled(params, word) for word in ["", *WORDS]]
    np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[0, 1], 0)


def test_it_is_added_to_word_and_affixes(columns):
    tokens, affixes = np.ones((1, len(columns)), np.int32), columns[None]
    both = TokenEmbedding(3, 5, affix_buckets=8193, characters=READ, character_sizes=(3, 4))
    init = functools.partial(both.init, train=False)
    params = drawn(lambda: nn.unbox(init(jax.random.key(0), tokens, affixes))["params"])
    assert set(params) == {"words", "affixes", "spelling"}
    spelling = SpellingEncoder(READ, 5, width=3, filters=4)
    less = {name: params[name] for name in ("words", "affixes")}
    plain = TokenEmbedding(3, 5, affix_buckets=8193)

    @jax.jit
    def run(params, less):
        return (
            spelling.apply({"params": params["spelling"]}, affixes[..., 1:]),
            plain.apply({"params": less}, tokens, affixes[..., :1], train=False).vectors,
            both.apply({"params": params}, tokens, affixes, train=False).vectors,
        )

    added, before, found = run(params, less)
    assert np.abs(added[0, 2:]).max() > 0
    np.testing.assert_allclose(found, before + added, rtol=1e-5, atol=1e-6)
    # What is dropped as a token is dropped with its characters.
    drop = jax.jit(functools.partial(both.clone(token_dropout=1.0).apply, train=True))
    dropped = drop({"params": params}, tokens, affixes, rngs={"dropout": jax.random.key(0)})
    expected = np.broadcast_to(params["words"][1], found.shape)
    np.testing.assert_allclose(dropped.vectors, expected, atol=1e-6)

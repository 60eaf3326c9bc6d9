import math

import numpy as np
import pytest

from mtljax.metrics import (
    Mean,
    Perplexity,
    TextSize,
    bits_per_byte,
    compute,
    merge,
    text_size,
    word_perplexity,
)


@pytest.mark.parametrize(
    ("texts", "words", "count"),
    [([], 0, 0), (["a bc", " d\n"], 3, 7), (["été 🎬"], 2, 10), (["\udcff"], 1, 3)],
)
def test_text_size(texts, words, count):
    assert text_size(texts) == TextSize(words, count)


def test_a_uniform_model_of_bytes_needs_eight_bits():
    text = "some text of bytes"
    size = text_size([text])
    likelihood = Mean(size.bytes * math.log(256), size.bytes)
    assert float(compute(bits_per_byte(likelihood, size))) == pytest.approx(8)
    per_word = float(compute(word_perplexity(likelihood, size)))
    assert per_word == pytest.approx(256 ** (size.bytes / 4))


def test_the_tokens_do_not_matter():
    size = TextSize(10, 55)
    for state in (Perplexity(30.0, 12), Perplexity(30.0, 55), Mean(30.0, 1)):
        assert float(compute(word_perplexity(state, size))) == pytest.approx(np.exp(3.0))
        assert float(compute(bits_per_byte(state, size))) == pytest.approx(30 / np.log(2) / 55)


def test_states_merge():
    a, b = TextSize(2, 9), TextSize(3, 20)
    both = merge(bits_per_byte(Mean(4.0, 1), a), bits_per_byte(Mean(6.0, 1), b))
    assert both == bits_per_byte(Mean(10.0, 2), TextSize(5, 29))

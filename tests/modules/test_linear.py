from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest

from mtljax.modules.heads import Features, SegmentHead
from mtljax.modules.linear import MAX_ORDER, LinearEncoder, ngram_buckets
from tests.modules.conftest import drawn

MULTIPLIERS = (2_654_435_761, 2_246_822_519, 3_266_489_917, 668_265_263)
WORD = 2**32


def bucket(tokens, buckets):
    """The hash of one n-gram in Python's whole numbers; the last token is mixed in first."""
    mixed = 0
    for token, multiplier in zip(reversed(tokens), MULTIPLIERS, strict=False):
        mixed = (mixed ^ token) * multiplier % WORD
        mixed ^= mixed >> 15
    return 1 + mixed % (buckets - 1)


@pytest.mark.parametrize("order", range(2, MAX_ORDER + 1))
@pytest.mark.parametrize("buckets", [2, 97, 65_536])
def test_ngram_buckets(rng, segments, spans, order, buckets):
    tokens = rng.integers(1, 50_000, segments.shape).astype(np.int32)
    expected = np.zeros_like(tokens)
    for row, span in spans:
        for end in range(span.start + order, span.stop + 1):
            expected[row, end - 1] = bucket(tokens[row, end - order : end].tolist(), buckets)
    found = jax.jit(ngram_buckets, static_argnums=(2, 3))(tokens, segments, order, buckets)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.int32


def predictions(rng, tokens, segments, count):
    """Scores [R, count] of a linear model with random parameters; and its parameters."""
    encoder, head = LinearEncoder(6, order=2, buckets=64), SegmentHead(1, ("root",))
    table = rng.normal(size=(30, 6)).astype(np.float32)
    x = table[tokens]
    params = drawn(lambda: nn.unbox(encoder.init(jax.random.key(0), x, tokens, segments))["params"])
    features = Features(x, x, table, segments)
    variables: Any = drawn(lambda: head.init(jax.random.key(2), features, count, train=False))

    @jax.jit
    def run(params, variables):
        hidden = encoder.apply({"params": params}, x, tokens, segments)
        return head.apply(variables, features._replace(hidden=hidden), count, train=False)[..., 0]

    return run(params, variables), table, params, variables["params"]["out"]


def test_prediction_is_a_sum_over_ngrams(rng, segments, spans):
    tokens = rng.integers(1, 30, segments.shape).astype(np.int32)
    scores, table, params, out = predictions(rng, tokens, segments, 4)
    word_scores = np.asarray(table @ out["kernel"])[:, 0]
    pair_scores = np.asarray(params["ngrams_2"] @ out["kernel"])[:, 0]
    for row, span in spans:
        text = tokens[row, span].tolist()
        total = sum(word_scores[t] for t in text)
        total += sum(pair_scores[bucket(p, 64)] for p in zip(text, text[1:], strict=False))
        expected = total / np.sqrt(len(text)) + float(out["bias"][0])
        segment = segments[row, span.start] - 1
        np.testing.assert_allclose(scores[row, segment], expected, rtol=1e-4, atol=1e-5)


def test_starts_as_a_bag_of_words(rng, segments):
    tokens = rng.integers(1, 30, segments.shape).astype(np.int32)
    x = rng.normal(size=(*segments.shape, 6)).astype(np.float32)
    begin = jax.jit(LinearEncoder(6, order=3, buckets=64).init_with_output)
    out, variables = begin(jax.random.key(0), x, tokens, segments)
    np.testing.assert_array_equal(out, x)
    assert set(variables["params"]) == {"ngrams_2", "ngrams_3"}
    assert not LinearEncoder(6, order=1).init(jax.random.key(0), x, tokens, segments)

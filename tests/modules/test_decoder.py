import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.kinds.text_to_text import TEXT_TO_TEXT
from mtljax.modules import DecoderConfig, EncoderConfig, HeadsConfig, HeadSpec, build, init
from mtljax.modules.architecture import Architecture
from mtljax.modules.decoder import DecoderHead
from mtljax.modules.network import encode, predict
from tests.modules.conftest import drawn

VOCABULARY, MARK = 20, 3
IDS, COUNTS = np.array([1, 3, 4, 5, 6]), np.array([0, 9, 4, 2, 1])
TEXTS = ([2, 7, 8, 9, MARK, 4, 5], [2, 10, MARK, 6], [2, 11, 12, MARK])
ENCODER = EncoderConfig(embedding=6, features=8, heads=2, feed_forward=16)
DECODER = DecoderConfig(layers=2, heads=2, feed_forward=12, dropout=0.0)
# As that of T5, with a table of its own to read words out.
RELATIVE = dataclasses.replace(
    DECODER,
    readout="own",
    architecture=Architecture(
        norm="rms",
        positions="relative",
        position_buckets=6,
        max_positions=5,
        head_size=3,
        query_scale=1.0,
        qkv_bias=False,
        out_bias=False,
        gated=True,
        feed_forward_bias=False,
    ),
)


def batch(*rows):
    """Rows of texts, packed and padded to 16."""
    parts = []
    for texts in rows:
        lengths = [len(text) for text in texts]
        segments = np.repeat(np.arange(len(texts)) + 1, lengths)
        positions = np.concatenate([np.arange(n) for n in lengths])
        columns = (np.concatenate(texts), segments, positions)
        parts.append([np.pad(x, (0, 16 - len(x))).astype(np.int32) for x in columns])
    arrays = (np.stack(x) for x in zip(*parts, strict=True))
    return dict(zip(("tokens", "segments", "positions"), arrays, strict=True))


@functools.cache
def make(kind):
    network = build(
        dataclasses.replace(
            ENCODER,
            kind="transformer" if kind == "relative" else kind,
            embedding=8 if kind == "linear" else 6,
        ),
        HeadsConfig(),
        {"reply": HeadSpec(TEXT_TO_TEXT.head, len(IDS), "words", IDS, COUNTS)},
        {"words": "separate"},
        VOCABULARY,
        decoder=RELATIVE if kind == "relative" else DECODER,
    )
    params = drawn(lambda: init(network, jax.random.key(0), {"words": batch(TEXTS)}))
    assert set(params["heads"]["reply"]) == {"memory", "stack", "readout"}

    @jax.jit
    def logits(batch):
        features = encode(network, params["shared"], "words", batch)
        return predict(network, params["heads"]["reply"], "reply", features, 4).logits()

    return network, logits


KINDS = ("transformer", "lstm", "linear", "relative")


def test_begins_at_the_frequencies_of_the_words():
    network, _ = make("linear")
    params = jax.jit(lambda: init(network, jax.random.key(0), {"words": batch(TEXTS)}))()
    bias = np.asarray(params["heads"]["reply"]["readout"]["bias"], float)
    expected = (COUNTS + 1) / (COUNTS + 1).sum()
    np.testing.assert_allclose(np.exp(bias) / np.exp(bias).sum(), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_equals_alone(kind):
    network, logits = make(kind)
    assert network.encoder.bidirectional == (kind == "lstm")
    packed = np.asarray(logits(batch(TEXTS, TEXTS, TEXTS)))[0]
    assert np.isfinite(packed).all()  # padding too
    alone = np.asarray(logits(batch(*([text] for text in TEXTS))))
    begin = 0
    for row, text in enumerate(TEXTS):
        answer = slice(text.index(MARK), len(text))
        own = packed[begin : begin + len(text)][answer]
        np.testing.assert_allclose(own, alone[row, answer], atol=1e-5)
        begin += len(text)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("column", [1, 3, 5, 6, 8, 10])
def test_what_a_word_reaches(kind, column):
    """A word of a source reaches all of its answer; one of an answer reaches what follows it."""
    _, logits = make(kind)
    rows = batch(TEXTS, TEXTS, TEXTS)  # as many as there are texts: one program
    changed = {**rows, "tokens": rows["tokens"].copy()}
    changed["tokens"][0, column] = 15
    before, after = (np.asarray(logits(x))[0] for x in (rows, changed))
    moved = np.abs(before - after).max(-1) > 1e-6
    first = {1: 4, 3: 4, 5: 5, 6: 6, 8: 9, 10: 10}[column]
    last = 7 if column < 7 else 11
    expected = np.zeros(16, bool)
    expected[first:last] = True
    answers = [4, 5, 6, 9, 10, 14]
    np.testing.assert_array_equal(moved[answers], expected[answers])


def test_what_is_kept_of_a_source(rng):
    head = DecoderHead(len(IDS), 4, layers=1, heads=1, feed_forward=3)
    hidden = rng.normal(size=(1, 3, 4)).astype(np.float32)
    params = jax.jit(
        lambda: head.init(jax.random.key(0), jnp.asarray(hidden), method="remember")
    )()["params"]
    memory: Any = head.apply({"params": params}, hidden, method="remember")
    ((keys, values),) = memory
    kernel, bias = (np.asarray(params["memory"][name]) for name in ("kernel", "bias"))
    expected = np.einsum("rld,diphs->rlips", hidden, kernel)[:, :, 0] + bias[0, :, 0]
    np.testing.assert_allclose(keys[0, 0].T, expected[0, :, 0], atol=1e-6)
    np.testing.assert_allclose(values[0, 0].T, expected[0, :, 1], atol=1e-6)


def test_bad_widths():
    head = DecoderHead(len(IDS), 6, heads=2)
    with pytest.raises(ValueError, match="a multiple of 2 \\* heads, got 6 and 2"):
        head.init(jax.random.key(0), jnp.zeros((1, 1, 6)), method="remember")


def test_a_source_must_be_known():
    network, _ = make("linear")
    other = dataclasses.replace(network, attention={"words": "bidirectional"})
    with pytest.raises(ValueError, match="features.source"):
        init(other, jax.random.key(0), {"words": batch(TEXTS)})

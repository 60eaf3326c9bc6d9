import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.kinds import KINDS
from mtljax.modules import (
    EncoderConfig,
    HeadsConfig,
    HeadSpec,
    Readout,
    build,
    encode,
    init,
    network,
    predict,
)
from tests.modules.conftest import drawn

ENCODER = EncoderConfig(
    embedding=8, features=8, heads=2, feed_forward=16, layers=2, ngram_buckets=32
)
HEADS = HeadsConfig()
IDS = np.array([1, 3, 4, 5])
COUNTS = np.array([5, 7, 3, 1])
SPECS = {
    "label": HeadSpec(KINDS["classification"].head, 3, "words"),
    "number": HeadSpec(KINDS["regression"].head, 1, "words"),
    "tags": HeadSpec(KINDS["tagging"].head, 4, "words"),
    "next": HeadSpec(KINDS["language_model"].head, 4, "words", IDS, COUNTS),
}
VOCABULARY, BUCKETS = 20, 9


@pytest.fixture
def batch(rng, segments, positions):
    return {
        "tokens": rng.integers(1, VOCABULARY, segments.shape).astype(np.int32),
        "affixes": rng.integers(0, BUCKETS, (*segments.shape, 2)).astype(np.int32),
        "segments": segments,
        "positions": positions,
    }


def make(kind, batch, attention="causal", specs=SPECS, dtype=jnp.float32, **changes):
    encoder = dataclasses.replace(ENCODER, kind=kind, **changes)
    net = build(encoder, HEADS, specs, {"words": attention}, VOCABULARY, BUCKETS, dtype)
    return net, drawn(lambda: init(net, jax.random.key(0), {"words": batch}))


def begun(net):
    """The network's own initializers, which take long to compile."""
    return jax.jit(lambda key, batches: init(net, key, batches))


def hidden_of(net, params, group="words"):
    """The encoder's output as a jitted function of batch and key."""
    return jax.jit(lambda batch, key=None: encode(net, params["shared"], group, batch, key).hidden)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("kind", ["lstm", "transformer", "linear"])
def test_shapes_and_dtypes(kind, dtype, batch):
    net, params = make(kind, batch, dtype=dtype, dense=6)
    assert set(params) == {"shared", "heads"} and set(params["heads"]) == set(SPECS)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}
    rows, size = batch["tokens"].shape

    def run(params, batch):
        features = encode(net, params["shared"], "words", batch)
        out = {t: predict(net, params["heads"][t], t, features, 4) for t in SPECS}
        assert isinstance(out["next"], Readout)
        return features, {**out, "next": out["next"].logits()}

    features, out = jax.eval_shape(run, params, batch)
    assert features.hidden.shape == (rows, size, 6)
    assert features.hidden.dtype == dtype
    assert out["label"].shape == (rows, 4, 3) and out["number"].shape == (rows, 4, 1)
    assert out["tags"].shape == (rows, size, 4)
    assert out["next"].shape == (rows, size, 4)
    assert {value.dtype for value in out.values()} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_bfloat16_is_near_float32(kind, batch):
    net, params = make(kind, batch)
    low = build(net.encoder.config, HEADS, SPECS, net.attention, VOCABULARY, BUCKETS, jnp.bfloat16)
    exact, rough = (np.asarray(hidden_of(n, params)(batch)) for n in (net, low))
    real = batch["segments"] > 0
    np.testing.assert_allclose(exact[real], rough[real].astype(np.float32), atol=0.1)
    assert not np.array_equal(exact[real], rough[real].astype(np.float32))


def test_language_model_starts_at_the_frequencies(batch):
    net, _ = make("linear", batch)
    params = begun(net)(jax.random.key(0), {"words": batch})
    expected = np.log((COUNTS + 1) / (COUNTS + 1).sum())
    np.testing.assert_allclose(params["heads"]["next"]["bias"], expected, rtol=1e-6)


def test_init_depends_on_the_key_alone(batch):
    net, _ = make("linear", batch)
    run = begun(net)
    first, again, other = (run(jax.random.key(k), {"words": batch}) for k in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    kernel = ["heads", "tags", "out", "kernel"]
    for key in kernel:
        first, other = first[key], other[key]
    assert not np.array_equal(first, other)


def test_groups_have_their_own_mask_over_the_same_parameters(batch):
    specs = {
        "label": HeadSpec(KINDS["classification"].head, 3, "whole"),
        "next": HeadSpec(KINDS["language_model"].head, 4, "words", IDS, COUNTS),
    }
    encoder = dataclasses.replace(ENCODER, kind="transformer")
    attention = {"whole": "bidirectional", "words": "causal"}
    net = build(encoder, HEADS, specs, attention, VOCABULARY, BUCKETS)
    params = drawn(lambda: init(net, jax.random.key(0), {"whole": batch, "words": batch}))
    changed = {**batch, "tokens": batch["tokens"].copy()}
    changed["tokens"][2, 7] = 1 + changed["tokens"][2, 7] % (VOCABULARY - 1)
    for group in attention:
        run = hidden_of(net, params, group)
        before, after = (np.asarray(run(b))[2, :7] for b in (batch, changed))
        assert np.array_equal(before, after) == (group == "words")


@pytest.mark.parametrize("kind", ["lstm", "transformer", "linear"])
def test_a_causal_group_never_sees_the_next_token(kind, batch):
    net, params = make(kind, batch)

    @jax.jit
    def logits(tokens):
        features = encode(net, params["shared"], "words", {**batch, "tokens": tokens})
        return predict(net, params["heads"]["next"], "next", features, 4).logits()

    changed = batch["tokens"].copy()
    changed[2, 7] = 1 + changed[2, 7] % (VOCABULARY - 1)
    before, after = (np.asarray(logits(tokens)) for tokens in (batch["tokens"], changed))
    np.testing.assert_array_equal(before[2, :7], after[2, :7])
    assert not np.array_equal(before[2, 7:], after[2, 7:])


@pytest.mark.parametrize(
    "kind, attention, lookahead",
    [
        ("lstm", "causal", 2),
        ("lstm", "bidirectional", 0),
        ("transformer", "causal", 2),
        ("transformer", "bidirectional", 0),
        ("linear", "causal", 2),
        ("linear", "bidirectional", 2),  # n-grams end at their position
    ],
)
def test_tags_look_ahead_where_the_encoder_does_not(kind, attention, lookahead):
    specs = {"tags": SPECS["tags"]}
    encoder = dataclasses.replace(ENCODER, kind=kind)
    net = build(encoder, HEADS, specs, {"words": attention}, VOCABULARY)
    assert net.heads["tags"].lookahead == lookahead


@pytest.mark.parametrize(
    "setting, other, both",
    [
        ("auto", "bidirectional", True),
        ("auto", "causal", False),
        ("auto", "prefix", False),
        ("auto", "separate", True),
        ("no", "bidirectional", False),
        ("yes", "separate", True),
    ],
)
def test_when_an_lstm_reads_both_ways(setting, other, both):
    encoder = dataclasses.replace(ENCODER, bidirectional=setting)
    assert network.bidirectional(encoder, {"a": "bidirectional", "b": other}) == both


def test_dropout_follows_the_key(batch):
    net, params = make("lstm", batch, dropout=0.5, word_dropout=0.5, token_dropout=0.2)
    run = hidden_of(net, params)
    keys = [None, jax.random.key(0), jax.random.key(0), jax.random.key(1)]
    plain, first, again, other = (run(batch, key) for key in keys)
    np.testing.assert_array_equal(first, again)
    for a, b in itertools.combinations((plain, first, other), 2):
        assert not np.array_equal(a, b)


def test_a_bidirectional_lstm_cannot_be_causal(batch):
    with pytest.raises(ValueError, match="bidirectional LSTM"):
        make("lstm", batch, bidirectional="yes")


def test_a_language_model_needs_a_causal_group(batch):
    with pytest.raises(ValueError, match="'next' is in a group that is not causal"):
        make("transformer", batch, attention="bidirectional")

"""One pass over the rows of several input groups, against a pass for each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.kinds import KINDS
from mtljax.modules import (
    Encoder,
    EncoderConfig,
    HeadsConfig,
    HeadSpec,
    Network,
    build,
    encode,
    encode_together,
    init,
)
from mtljax.modules.architecture import Architecture
from mtljax.modules.attention_mask import AttentionByRow, attention_mask, is_any
from mtljax.special_tokens import END
from tests.modules.conftest import drawn

VOCABULARY, BUCKETS = 20, 9
MIXED = {"a": "bidirectional", "b": "causal", "c": "prefix", "d": "separate"}
TYPED = Architecture(token_types=2, positions="learned", max_positions=12)
DROPPED = dict(dropout=0.3, embedding_dropout=0.2, word_dropout=0.2, token_dropout=0.1)


def make(rng, segments, positions, attention, dtype=np.float32, **encoder):
    """A network, parameters, and groups of unlike rows, with numbers from afar."""
    batches = {}
    for place, name in enumerate(attention):
        rows = [0, 1, 2, 3][: 2 + place % 3]
        tokens = rng.integers(4, VOCABULARY, (len(rows), segments.shape[1])).astype(np.int32)
        tokens[:, 2::5] = END
        batches[name] = {
            "tokens": tokens,
            "segments": segments[rows],
            "positions": positions[rows],
            # Not all groups have tokens of as many affixes.
            "affixes": rng.integers(0, BUCKETS, (*tokens.shape, 1 + place % 2)).astype(np.int32),
            "rows": np.arange(len(rows)) * 7 + place,
        }
    spec = HeadSpec(KINDS["regression"].head, 1, next(iter(attention)))
    config = EncoderConfig(
        embedding=8, features=8, heads=2, feed_forward=16, ngram_buckets=32, **encoder
    )
    network = build(config, HeadsConfig(), {"y": spec}, attention, VOCABULARY, BUCKETS, dtype)
    params = drawn(lambda: init(network, jax.random.key(0), batches))["shared"]
    return network, jax.tree.map(lambda x: x.astype(dtype), params), batches


def gradient(run, params):
    """Features, and the gradient of a number that all of them enter."""

    def number(params):
        features = run(params)
        waves = [jnp.sum(jnp.sin(x.hidden + x.embedded.sum())) for x in features.values()]
        return sum(waves), features

    return jax.jit(jax.grad(number, has_aux=True))(params)


def compare(network, params, batches, key, rtol):
    one = gradient(lambda params: encode_together(network, params, batches, key), params)
    each = gradient(
        lambda params: {n: encode(network, params, n, x, key) for n, x in batches.items()}, params
    )
    assert jax.tree.structure(one) == jax.tree.structure(each)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(each), strict=True):
        assert a.dtype == b.dtype
        size = np.abs(np.asarray(b, np.float64)).max(initial=1e-30)
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * size)


@pytest.mark.parametrize(
    ("attention", "settings", "dtype", "rtol"),
    [
        (
            MIXED,
            dict(kind="transformer", dropout_mask="text", dense=6, architecture=TYPED, **DROPPED),
            np.float64,
            1e-7,  # what dropout keeps is scaled by a float32
        ),
        (dict.fromkeys("ab", "bidirectional"), dict(kind="transformer"), np.float32, 1e-5),
        (
            {"a": "bidirectional", "d": "separate"},
            dict(kind="lstm", recurrent_dropout=0.3, dropout_mask="text", **DROPPED),
            np.float32,
            1e-5,
        ),
        (MIXED, dict(kind="linear", **DROPPED), np.float32, 1e-5),
    ],
)
def test_features_and_gradients_are_those_of_each_group(
    attention, settings, dtype, rtol, rng, segments, positions
):
    with jax.enable_x64(dtype == np.float64):
        made = make(rng, segments, positions, attention, dtype, **settings)
        compare(*made, jax.random.key(5), rtol)


def test_masks_by_row_are_those_of_each_kind(rng, segments):
    source = rng.uniform(size=segments.shape) < 0.4
    kinds = ("bidirectional", "prefix", "causal")
    by_row = AttentionByRow(kinds, jnp.array([2, 0, 1, 1]))
    found = attention_mask(
        segments,
        causal=is_any(by_row, "causal", "prefix"),
        source=source & np.asarray(is_any(by_row, "prefix"))[:, None],
    )
    for row, kind in enumerate(by_row.of_row):
        name = kinds[int(kind)]
        wanted = attention_mask(
            segments[row : row + 1],
            causal=name != "bidirectional",
            source=source[row : row + 1] if name == "prefix" else None,
        )
        np.testing.assert_array_equal(found[row], wanted[0])


def test_what_all_rows_have_is_no_data():
    """So that a batch of one kind compiles the mask of that kind."""
    by_row = AttentionByRow(("causal", "prefix"), jnp.array([0, 1]))
    assert is_any(by_row, "causal", "prefix") is True and is_any(by_row, "separate") is False
    np.testing.assert_array_equal(is_any(by_row, "prefix"), [False, True])
    assert is_any("causal", "causal") is True


def test_a_bidirectional_lstm_serves_no_causal_rows(rng, segments, positions):
    attention = {"a": "bidirectional", "b": "bidirectional"}
    network, params, batches = make(rng, segments, positions, attention, kind="lstm")
    changed = Network(
        network.encoder, network.heads, network.specs, {"a": "bidirectional", "b": "causal"}
    )
    assert isinstance(network.encoder, Encoder) and network.encoder.bidirectional
    with pytest.raises(ValueError, match="bidirectional LSTM cannot serve a causal"):
        encode_together(changed, params, batches)

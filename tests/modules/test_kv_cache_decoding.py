"""Token by token, an encoder gives what it gives for the whole text."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.generation.decodable import choose_rows, fork_rows
from mtljax.kinds import KINDS
from mtljax.modules import (
    EncoderConfig,
    HeadsConfig,
    HeadSpec,
    build,
    encode,
    init,
    kv_cache_decoding,
)
from mtljax.modules.architecture import Architecture
from tests.modules.conftest import drawn

VOCABULARY, BUCKETS, MARK = 20, 9, 3
ENCODER = EncoderConfig(
    embedding=6, features=8, heads=2, feed_forward=16, layers=2, ngrams=3, ngram_buckets=32
)
# Two queries a key, windows in two layers of three, positions that are learned.
SHARED = Architecture(
    norm="rms",
    norm_placement="around",
    positions="learned",
    max_positions=11,
    kv_heads=2,
    gated=True,
    window=2,
    window_pattern=("local", "global", "local"),
)
# Two queries a key, windows, and a bias for each distance.
RELATIVE = Architecture(
    positions="relative",
    position_buckets=8,
    max_positions=6,
    kv_heads=2,
    window=4,
    window_pattern=("global", "local"),
)
WIDTH, ROOM = 5, 6
LENGTHS = np.array([5, 1, 3])
"""Of the prompts."""


@pytest.fixture
def tokens(rng):
    return rng.integers(1, VOCABULARY, (len(LENGTHS), WIDTH + ROOM)).astype(np.int32)


@pytest.fixture
def affixes(rng):
    return rng.integers(0, BUCKETS, (VOCABULARY, 2)).astype(np.int32)


def make(kind, affixes, dtype=jnp.float32, attention="causal", **changes):
    specs = {"next": HeadSpec(KINDS["text_to_text"].head, 4, "words", np.array([1, 3, 4, 5]))}
    config = dataclasses.replace(ENCODER, kind=kind, **changes)
    network = build(config, HeadsConfig(), specs, {"words": attention}, VOCABULARY, BUCKETS, dtype)
    row = {name: np.ones((1, 4), np.int32) for name in ("tokens", "segments", "positions")}
    first = {**row, "affixes": affixes[row["tokens"]]}
    params = drawn(lambda: init(network, jax.random.key(0), {"words": first}))
    return network, params["shared"]


def whole(network, shared, tokens, affixes):
    """The encoder's output for texts at the left edge, ``[R, S, D]``."""
    ends = LENGTHS[:, None] + ROOM
    columns = np.arange(tokens.shape[1])
    batch = {
        "tokens": tokens,
        "affixes": affixes[tokens],
        "segments": (columns < ends).astype(np.int32),
        "positions": np.broadcast_to(columns, tokens.shape),
    }
    return np.asarray(jax.jit(lambda b: encode(network, shared, "words", b).hidden)(batch))


def prompts(tokens, affixes):
    """The first tokens of each text, at the right edge."""
    columns = np.arange(WIDTH)
    places = columns - (WIDTH - LENGTHS)[:, None]
    there = places >= 0
    moved = np.where(there, np.take_along_axis(tokens, np.maximum(places, 0), 1), 0)
    return {
        "tokens": moved.astype(np.int32),
        "affixes": np.where(there[..., None], affixes[moved], 0),
        "segments": there.astype(np.int32),
        "positions": np.maximum(places, 0).astype(np.int32),
    }


def stepwise(network, shared, tokens, affixes):
    """The same, token by token: that of each prompt's end, and of what follows."""

    @jax.jit
    def run(shared, tokens, batch):
        features, cache = kv_cache_decoding.prefill(network, shared, "words", batch, ROOM)
        ready = kv_cache_decoding.prepare(network, shared)

        def one(cache, count):
            own = jnp.take_along_axis(tokens, (LENGTHS + count)[:, None], axis=1)[:, 0]
            read = jnp.asarray(affixes)[own]
            features, cache = kv_cache_decoding.decode_step(network, ready, cache, own, read, count)
            return cache, features.hidden[:, 0]

        _, hidden = jax.lax.scan(one, cache, jnp.arange(ROOM))
        return jnp.concatenate([features.hidden[:, -1:], jnp.swapaxes(hidden, 0, 1)], axis=1)

    return np.asarray(run(shared, tokens, prompts(tokens, affixes)))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("transformer", {"dense": 4, "embedding": 8, "remat": "full"}),
        ("transformer", {"heads": 4, "layers": 3, "architecture": SHARED}),
        ("transformer", {"heads": 4, "architecture": RELATIVE}),
        ("lstm", {"dense": 4}),
        ("linear", {}),
    ],
)
def test_step_by_step_equals_the_whole_text(kind, changes, tokens, affixes):
    network, shared = make(kind, affixes, **changes)
    expected = whole(network, shared, tokens, affixes)
    found = stepwise(network, shared, tokens, affixes)
    for row, length in enumerate(LENGTHS):
        own = expected[row, length - 1 : length + ROOM]
        np.testing.assert_allclose(found[row], own, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_bfloat16(kind, tokens, affixes):
    network, shared = make(kind, affixes, jnp.bfloat16)
    ready = kv_cache_decoding.prepare(network, shared)
    kernels = [
        leaf.dtype
        for path, leaf in jax.tree.leaves_with_path(ready["params"][kind])
        if "kernel" in str(path) or "recurrent" in str(path)
    ]
    assert kernels and set(kernels) == {jnp.dtype(jnp.bfloat16)}
    found = stepwise(network, shared, tokens, affixes)
    assert found.dtype == jnp.bfloat16
    expected = whole(network, shared, tokens, affixes)
    for row, length in enumerate(LENGTHS):
        own = expected[row, length - 1 : length + ROOM].astype(np.float32)
        np.testing.assert_allclose(found[row].astype(np.float32), own, atol=0.1)


def test_a_source_is_read_both_ways(tokens, affixes):
    network, shared = make("transformer", affixes, attention="prefix")
    tokens = np.where(tokens == MARK, 1, tokens)
    tokens[np.arange(len(LENGTHS)), LENGTHS - 1] = MARK
    expected = whole(network, shared, tokens, affixes)
    found = stepwise(network, shared, tokens, affixes)
    causal = whole(
        dataclasses.replace(network, attention={"words": "causal"}), shared, tokens, affixes
    )
    for row, length in enumerate(LENGTHS):
        own = slice(length - 1, length + ROOM)
        np.testing.assert_allclose(found[row], expected[row, own], atol=1e-5, rtol=1e-5)
        # A source of no word but its mark is the same either way.
        assert (np.abs(expected[row, own] - causal[row, own]).max() > 1e-3) == (length > 2)


def test_training_keeps_nothing(tokens, affixes):
    network, shared = make("transformer", affixes)
    batch = prompts(tokens, affixes)

    @jax.jit
    def both(shared, batch):
        found = network.encoder.apply({"params": shared}, batch, attention="causal", train=False)
        return found, *kv_cache_decoding.prefill(network, shared, "words", batch, 0)

    found, features, cache = both(shared, batch)
    np.testing.assert_allclose(found.hidden, features.hidden, atol=1e-6)
    assert cache.starts.tolist() == (WIDTH - LENGTHS).tolist()
    rows = {name: batch[name] for name in batch}
    variables = jax.eval_shape(
        lambda: network.encoder.init(jax.random.key(0), rows, attention="causal", train=False)
    )
    assert set(variables) == {"params"}


def test_a_bidirectional_lstm_has_no_cache(tokens, affixes):
    network = build(
        dataclasses.replace(ENCODER, bidirectional="yes"),
        HeadsConfig(),
        {},
        {"words": "bidirectional"},
        VOCABULARY,
    )
    batch = prompts(tokens, affixes)
    params = drawn(lambda: init(network, jax.random.key(0), {"words": batch}))
    with pytest.raises(ValueError, match="token by token"):
        kv_cache_decoding.prefill(network, params["shared"], "words", batch, 1)


def test_branches_are_rows_that_change_places(tokens, affixes):
    """Forked and chosen, a state gives what its rows give when they are copied."""
    network, shared = make("transformer", affixes, heads=4, layers=3, architecture=SHARED)
    rows, count = len(LENGTHS), 2
    parents = np.array(
        [[[0, 0], [0, 1], [0, 0]], [[1, 0], [1, 1], [0, 1]], [[0, 1], [1, 0], [1, 1]]]
    )

    @jax.jit
    def run(shared, batch):
        _, cache = kv_cache_decoding.prefill(network, shared, "words", batch, ROOM)
        ready = kv_cache_decoding.prepare(network, shared)
        outputs = []
        for fork, choose in (
            (kv_cache_decoding.fork, kv_cache_decoding.choose),
            (fork_rows, choose_rows),
        ):

            def one(state, at, choose=choose):
                turn, chosen, own = at
                state = choose(state, chosen)
                read = jnp.asarray(affixes)[own]
                features, state = kv_cache_decoding.decode_step(
                    network, ready, state, own, read, turn
                )
                return state, features.hidden[:, 0]

            turns = np.arange(len(parents))
            words = np.stack([tokens[:, turn : turn + count].reshape(-1) for turn in turns])
            _, hidden = jax.lax.scan(one, fork(cache, count), (turns, parents, words))
            outputs.append(jnp.swapaxes(hidden, 0, 1))
        return outputs

    found, expected = run(shared, prompts(tokens, affixes))
    assert found.shape[:2] == (rows * count, len(parents))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)

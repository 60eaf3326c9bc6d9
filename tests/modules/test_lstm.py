import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.modules.lstm import LSTMEncoder, lstm, segment_starts
from tests.modules.conftest import by_rows, drawn

HIDDEN, WIDTH = 5, 4
FEATURES = 6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def plain_lstm(inputs, recurrent):
    """One sequence [S, 4 H], gate by gate, step by step."""
    size = recurrent.shape[0]
    cell, hidden, out = np.zeros(size), np.zeros(size), []
    for projected in inputs:
        i, f, g, o = np.split(projected + hidden @ recurrent, 4)
        cell = sigmoid(f + 1) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        out.append(hidden)
    return np.array(out)


@pytest.fixture
def problem(rng, segments):
    inputs = rng.normal(size=(*segments.shape, 4 * HIDDEN)).astype(np.float32)
    recurrent = rng.normal(size=(HIDDEN, 4 * HIDDEN)).astype(np.float32)
    return inputs, recurrent


@functools.partial(jax.jit, static_argnames="reverse")
def packed_lstm(inputs, recurrent, segments, reverse):
    return lstm(inputs, recurrent, segment_starts(segments, reverse=reverse), reverse=reverse)


@pytest.mark.parametrize(
    ("reverse", "run"), [(True, packed_lstm.__wrapped__), (True, packed_lstm), (False, packed_lstm)]
)
def test_each_packed_segment_is_a_plain_lstm(problem, segments, spans, reverse, run):
    inputs, recurrent = problem
    found = run(jnp.asarray(inputs), jnp.asarray(recurrent), jnp.asarray(segments), reverse=reverse)
    assert found.dtype == jnp.float32
    for row, span in spans:
        sequence = inputs[row, span]
        expected = plain_lstm(sequence[::-1] if reverse else sequence, recurrent)
        np.testing.assert_allclose(found[row, span], expected[::-1] if reverse else expected,
                                   rtol=2e-5, atol=2e-6)  # fmt: skip


@pytest.mark.parametrize("reverse", [False, True])
def test_float64(problem, segments, spans, reverse):
    inputs, recurrent = (np.asarray(x, np.float64) for x in problem)
    with jax.enable_x64(True):
        found = np.asarray(packed_lstm(inputs, recurrent, segments, reverse=reverse))
    assert found.dtype == np.float64
    for row, span in spans:
        sequence = inputs[row, span]
        expected = plain_lstm(sequence[::-1] if reverse else sequence, recurrent)
        np.testing.assert_allclose(found[row, span], expected[::-1] if reverse else expected,
                                   rtol=1e-12, atol=1e-13)  # fmt: skip


def test_segment_starts():
    segments = jnp.array([[1, 1, 2, 3, 3, 0, 0], [1, 1, 1, 1, 1, 1, 1]])
    assert segment_starts(segments).astype(int).tolist() == [
        [1, 0, 1, 1, 0, 1, 0],
        [1, 0, 0, 0, 0, 0, 0],
    ]
    assert segment_starts(segments, reverse=True).astype(int).tolist() == [
        [0, 1, 1, 0, 1, 0, 1],
        [0, 0, 0, 0, 0, 0, 1],
    ]


def test_one_segment_equals_flax(rng):
    x = rng.normal(size=(3, 9, WIDTH)).astype(np.float32)
    cell = nn.RNN(nn.OptimizedLSTMCell(HIDDEN))
    params: Any = drawn(lambda: cell.init(jax.random.key(0), x))["params"]["cell"]
    # Flax's biases: the hidden part has them, the input part has none; its forget bias is 0.
    gates = "ifgo"
    recurrent = np.concatenate([params[f"h{gate}"]["kernel"] for gate in gates], axis=1)
    kernel = np.concatenate([params[f"i{gate}"]["kernel"] for gate in gates], axis=1)
    bias = np.concatenate([params[f"h{gate}"]["bias"] - (gate == "f") for gate in gates])
    one = np.ones(x.shape[:2], np.int32)
    found = packed_lstm(x @ kernel + bias, recurrent, one, reverse=False)
    expected = jax.jit(cell.apply)({"params": {"cell": params}}, x)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


@functools.partial(jax.jit, static_argnums=0)
def run(model, params, x, segments):
    return model.apply({"params": params}, x, segments, train=False)


def make_params(model, x, segments):
    init = functools.partial(model.init, train=False)
    return drawn(lambda: nn.unbox(init(jax.random.key(1), x, segments))["params"])


def test_stacked_encoder_packed_equals_alone(rng, segments, apart):
    """In both directions; one of them alone is a plain LSTM, above."""
    unpacked, alone, _ = apart
    x = rng.normal(size=(*segments.shape, WIDTH)).astype(np.float32)
    model = LSTMEncoder(FEATURES, layers=2, bidirectional=True)
    params = make_params(model, x, segments)
    packed = run(model, params, x, segments)
    assert packed.shape == (*segments.shape, FEATURES)
    found = unpacked(np.asarray(packed))
    expected = by_rows(len(x), functools.partial(run, model, params))(unpacked(x), alone)
    np.testing.assert_allclose(found[alone > 0], expected[alone > 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_only_a_causal_encoder_ignores_later_inputs(rng, segments, bidirectional):
    x = rng.normal(size=(*segments.shape, WIDTH)).astype(np.float32)
    model = LSTMEncoder(FEATURES, bidirectional=bidirectional)
    params = make_params(model, x, segments)
    changed = x.copy()
    changed[2, 7] += 1.0  # row 2 is one segment
    before, after = (np.asarray(run(model, params, y, segments)[2]) for y in (x, changed))
    assert np.array_equal(before[:7], after[:7]) == (not bidirectional)
    assert not np.array_equal(before[8:], after[8:])


def test_recurrent_dropout_keeps_expected_weights(rng, segments):
    x = rng.normal(size=(*segments.shape, WIDTH)).astype(np.float32)
    model = LSTMEncoder(FEATURES, recurrent_dropout=0.5)
    params = make_params(model, x, segments)

    @functools.partial(jax.jit, static_argnames="train")
    def sample(key, train=True):
        return model.apply({"params": params}, x, segments, train=train, rngs={"dropout": key})

    first, again, other = (sample(jax.random.key(k)) for k in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    # The first position of a segment has no recurrent part to drop.
    starts = np.diff(segments, prepend=0, axis=1) != 0
    np.testing.assert_array_equal(np.asarray(first)[starts], np.asarray(other)[starts])
    first, other = (sample(jax.random.key(k), train=False) for k in (0, 1))
    np.testing.assert_array_equal(first, other)


def test_odd_width_for_two_directions():
    with pytest.raises(ValueError, match="even"):
        LSTMEncoder(5, bidirectional=True).init(
            jax.random.key(0), jnp.ones((1, 2, 3)), jnp.ones((1, 2), jnp.int32), train=False
        )

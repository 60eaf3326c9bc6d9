import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtljax.generation import (
    forbid,
    forbid_repeated_ngrams,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalize_repetition,
    scale,
)

SIZE = 8
SEEDS = st.integers(0, 2**31)


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=(*shape, SIZE)).astype(np.float32) * 3


def softmax(x):
    shares = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def kept(x):
    return np.isfinite(np.asarray(x))


@settings(max_examples=30)
@given(SEEDS, st.integers(0, SIZE + 1))
def test_top_k(seed, k):
    logits = draw(seed, 3)
    ranks = np.argsort(np.argsort(-logits, axis=-1), axis=-1)
    np.testing.assert_array_equal(kept(keep_top_k(logits, k)), (ranks < k) | (k == 0))


@settings(max_examples=30)
@given(SEEDS, st.sampled_from([1e-6, 0.1, 0.5, 0.77, 0.99, 1.0]))
def test_top_p(seed, p):
    logits = draw(seed, 3)
    for row, found in zip(softmax(logits), kept(keep_top_p(logits, p)), strict=True):
        order = np.argsort(-row)
        before = np.cumsum(row[order]) - row[order]
        assert set(np.flatnonzero(found)) == set(order[(before < p) | (p == 1)])


def test_top_p_of_equal_shares_keeps_the_lower_classes():
    assert kept(keep_top_p(jnp.zeros(SIZE), 0.55)).tolist() == [True] * 5 + [False] * 3
    assert kept(keep_top_p(jnp.zeros(SIZE), 1e-9)).tolist() == [True] + [False] * 7


@settings(max_examples=30)
@given(SEEDS, st.sampled_from([0.0, 0.01, 0.3, 0.9, 1.0]))
def test_min_p(seed, p):
    logits = draw(seed, 3)
    shares = softmax(logits)
    expected = shares >= p * shares.max(-1, keepdims=True) * (1 - 1e-6)
    np.testing.assert_array_equal(kept(keep_min_p(logits, p)), expected)


@settings(max_examples=20)
@given(SEEDS, st.sampled_from([0.1, 0.8, 1.0, 3.0]))
def test_scale(seed, temperature):
    logits = draw(seed, 2)
    found = softmax(np.asarray(scale(logits, temperature)))
    np.testing.assert_allclose(found, softmax(logits / temperature), atol=1e-5)


@settings(max_examples=20)
@given(SEEDS, st.sampled_from([0.5, 1.0, 1.3]))
def test_repetition_penalty(seed, penalty):
    rng = np.random.default_rng(seed)
    logits, history = draw(seed, 3), rng.integers(-1, SIZE, (3, 5))
    expected = logits.copy()
    for row, classes in enumerate(history):
        for one in set(classes.tolist()) - {-1}:
            value = logits[row, one]
            expected[row, one] = value / penalty if value > 0 else value * penalty
    found = penalize_repetition(logits, history, penalty)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@settings(max_examples=60)
@given(SEEDS, st.integers(0, 4), st.integers(0, 9))
def test_no_repeated_ngrams(seed, size, length):
    rng = np.random.default_rng(seed)
    history = rng.integers(0, 3, (2, 9))
    history[1, : min(3, length)] = -1  # a shorter prompt
    history[:, length:] = rng.integers(-1, 3, (2, 9 - length))  # what is there is not to be read
    found = forbid_repeated_ngrams(np.zeros((2, SIZE), np.float32), history, length, size)
    for row, classes in enumerate(history):
        text = [one for one in classes[:length].tolist() if one >= 0]
        there = {tuple(text[i : i + size]) for i in range(len(text) - size + 1)} if size else set()
        suffix = tuple(text[len(text) - size + 1 :]) if size else ()
        expected = {one for one in range(SIZE) if (*suffix, one) in there}
        assert set(np.flatnonzero(~kept(found)[row])) == expected


def test_forbid():
    logits = draw(0, 2)
    found = forbid(logits, (1, 5))
    assert (~kept(found)).sum() == 4
    np.testing.assert_array_equal(np.delete(found, [1, 5], -1), np.delete(logits, [1, 5], -1))
    np.testing.assert_array_equal(forbid(logits, ()), logits)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (keep_top_k, (3,)),
        (keep_top_p, (0.7,)),
        (keep_min_p, (0.2,)),
        (scale, (0.5,)),
        (penalize_repetition, (jnp.array([1, 4]), 1.5)),
    ],
)
def test_numbers_may_be_traced(function, arguments):
    logits = draw(1).astype(jnp.bfloat16)
    traced = jax.jit(function)(logits, *arguments)
    assert traced.dtype == jnp.float32
    np.testing.assert_allclose(traced, function(logits, *arguments), rtol=1e-6)

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mtljax import losses


def plain(features, table, bias, targets, weights):
    """The weighted losses, and their slopes by features, table and bias: in float64."""
    features, table = (np.asarray(x, np.float64) for x in (features, table))
    logits = features @ table.T + (0 if bias is None else np.asarray(bias, np.float64))
    rows = np.arange(len(targets))
    values = -special.log_softmax(logits, axis=1)[rows, targets]
    slope = special.softmax(logits, axis=1)
    slope[rows, targets] -= 1
    slope = np.reshape(weights, (-1, 1)) * slope
    return weights * values, (slope @ table, slope.T @ features, slope.sum(0))


@functools.partial(jax.jit, static_argnames="chunk")
def chunked(features, table, bias, targets, weights, chunk):
    """As `plain`."""

    def total(features, table, bias):
        values = losses.linear_cross_entropy(features, table, bias, targets, chunk=chunk)
        return jnp.sum(weights * values), weights * values

    which = (0, 1) if bias is None else (0, 1, 2)
    (_, values), slopes = jax.value_and_grad(total, which, has_aux=True)(features, table, bias)
    return values, slopes


@pytest.fixture
def problem(rng):
    features, table, bias = (
        rng.normal(size=shape).astype(np.float32) for shape in ((23, 4), (7, 4), 7)
    )
    return features, table, bias, rng.integers(7, size=23)


@pytest.mark.parametrize(
    ("chunk", "jit", "with_bias"),
    [(1, True, True), (5, False, True), (5, True, False), (23, True, True), (1000, True, False)],
)
def test_values_and_gradients_equal_the_plain_product(problem, chunk, jit, with_bias):
    features, table, bias, targets = problem
    scale = np.linspace(0.0, 2.0, 23, dtype=np.float32)
    arguments = (features, table, bias if with_bias else None, targets, scale)
    values, slopes = (chunked if jit else chunked.__wrapped__)(*arguments, chunk=chunk)
    expected, expected_slopes = plain(*arguments)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    assert len(slopes) == 2 + with_bias
    for slope, wanted in zip(slopes, expected_slopes, strict=False):
        assert slope.dtype == np.float32
        np.testing.assert_allclose(slope, wanted, rtol=1e-4, atol=1e-5)


def test_float64(problem):
    *arrays, targets = problem
    arguments = (*(x.astype(np.float64) for x in arrays), targets, np.ones(23))
    with jax.enable_x64(True):
        values, slopes = chunked(*arguments, chunk=6)
    expected, expected_slopes = plain(*arguments)
    np.testing.assert_allclose(values, expected, rtol=1e-13)
    for slope, wanted in zip(slopes, expected_slopes, strict=True):
        np.testing.assert_allclose(slope, wanted, rtol=1e-11, atol=1e-13)


def test_low_precision_is_accumulated_in_float32(problem):
    features, table, bias, targets = problem
    low = features.astype(jnp.bfloat16), table.astype(jnp.bfloat16)
    arguments = (*low, bias, targets, np.ones(23, np.float32))
    values, slopes = chunked(*arguments, chunk=8)
    expected, expected_slopes = plain(*arguments)
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    assert slopes[1].dtype == jnp.bfloat16
    np.testing.assert_allclose(slopes[1].astype(np.float32), expected_slopes[1], atol=0.05)


def test_target_out_of_range_is_nan_and_leaves_the_others_alone(problem):
    features, table, bias, targets = problem
    targets[3], targets[20] = -1, 7

    @jax.jit
    @jax.value_and_grad
    def loss(features):
        values = losses.linear_cross_entropy(features, table, bias, targets, chunk=4)
        return losses.weighted_mean(values, (targets >= 0) & (targets < 7))

    value, slope = loss(features)
    assert np.isfinite(value) and np.isfinite(slope).all()
    assert not np.any(slope[3]) and not np.any(slope[20])


def test_logits_are_never_whole(problem):
    rows, classes, chunk = 64, 501, 8
    features, table = (np.ones((n, 4), np.float32) for n in (rows, classes))

    def loss(features, table):
        index = np.zeros(rows, np.int32)
        return losses.linear_cross_entropy(features, table, None, index, chunk=chunk).sum()

    text = jax.jit(jax.grad(loss, (0, 1))).lower(features, table).as_text()
    assert f"{chunk}x{classes}x" in text
    assert f"{rows}x{classes}x" not in text and f"{rows // chunk}x{chunk}x{classes}x" not in text


def test_no_rows_and_a_batch_of_problems(problem):
    features, table, bias, targets = problem
    none = jax.jit(losses.linear_cross_entropy)(features[:0], table, bias, targets[:0])
    assert none.shape == (0,)
    stacked = jax.jit(jax.vmap(losses.linear_cross_entropy, (0, None, None, 0)))(
        np.stack([features, -features]), table, bias, np.stack([targets, targets])
    )
    expected, _ = plain(-features, table, bias, targets, np.ones(23))
    np.testing.assert_allclose(stacked[1], expected, rtol=1e-5)


@pytest.mark.parametrize("chunk", [0, -1])
def test_wrong_chunk_is_named(problem, chunk):
    with pytest.raises(ValueError, match="chunk"):
        losses.linear_cross_entropy(*problem, chunk=chunk)

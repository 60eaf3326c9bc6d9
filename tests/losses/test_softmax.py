import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from mtljax import losses

softmax = jax.jit(losses.softmax, static_argnums=2)
value_and_slope = jax.jit(jax.value_and_grad(losses.softmax))


def reference(logits, targets, smoothing=0.0):
    logits = np.asarray(logits, np.float64)
    classes = logits.shape[-1]
    q = (1 - smoothing) * np.eye(classes)[targets] + smoothing / classes
    return -np.sum(q * special.log_softmax(logits, axis=-1), axis=-1)


@pytest.mark.parametrize(("smoothing", "jit"), [(0.0, True), (0.1, True), (0.1, False)])
def test_equals_scipy(rng, jit, smoothing):
    logits = rng.normal(size=(3, 4, 5)).astype(np.float32) * 10
    targets = rng.integers(5, size=(3, 4))
    f = softmax if jit else losses.softmax
    result = f(logits, targets, smoothing)
    assert result.dtype == jnp.float32 and result.shape == (3, 4)
    np.testing.assert_allclose(result, reference(logits, targets, smoothing), rtol=2e-6, atol=1e-6)


def test_equals_scipy_in_float64(rng):
    logits, targets = rng.normal(size=(6, 5)) * 10, rng.integers(5, size=6)
    with jax.enable_x64(True):
        result = softmax(logits, targets, 0.2)
        assert result.dtype == jnp.float64
        np.testing.assert_allclose(result, reference(logits, targets, 0.2), rtol=1e-13)


def test_gradient_is_softmax_minus_target(rng):
    logits, targets = rng.normal(size=(6, 5)).astype(np.float32), rng.integers(5, size=6)
    slope = jax.jit(jax.grad(lambda z: losses.softmax(z, targets).sum()))(logits)
    expected = special.softmax(logits, axis=-1) - np.eye(5)[targets]
    np.testing.assert_allclose(slope, expected, atol=1e-6)


@given(st.floats(-(2.0**100), 2.0**100, width=32), st.sampled_from([1, 2, 6]))
@settings(max_examples=30, deadline=None)
def test_a_shift_of_all_logits_changes_nothing(shift, classes):
    assert softmax(np.full(classes, shift, np.float32), 0) == pytest.approx(
        np.log(classes), rel=1e-6
    )


def test_extreme_logits_stay_finite_and_keep_small_losses():
    value, slope = value_and_slope(np.float32([1e30, -1e30]), 1)
    assert np.isfinite(value) and np.isfinite(slope).all()
    # e^-12 next to a logit of 50 would be rounded away by log_z - logit.
    small = softmax(np.float32([50.0, 38.0]), 0)
    np.testing.assert_allclose(small, np.exp(-12.0), rtol=1e-2)


def test_low_precision_is_accumulated_in_float32(rng):
    logits = jnp.asarray(rng.normal(size=(2, 3000)), jnp.bfloat16)
    targets = np.array([0, 7])
    result = softmax(logits, targets)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, reference(np.float32(logits), targets), rtol=1e-5)


@pytest.mark.parametrize("bad", [-1, 3, 2**31 - 1])
def test_target_out_of_range_is_nan_without_gradient(bad):
    value, slope = value_and_slope(np.arange(3, dtype=np.float32), bad)
    assert np.isnan(value)
    np.testing.assert_array_equal(slope, 0)


def test_label_smoothing_may_be_traced():
    logits = np.array([1.0, 2.0], np.float32)
    found = jax.jit(losses.softmax)(logits, 0, 0.3)
    np.testing.assert_allclose(found, reference(logits, 0, 0.3), rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(
    ("arguments", "error", "names"),
    [
        ((np.ones((2, 3), int), np.zeros(2, int)), TypeError, "predictions"),
        ((np.ones((2, 3)), np.zeros(2)), TypeError, "targets"),
        ((np.ones((2, 3)), np.zeros(2, bool)), TypeError, "targets"),
        ((np.ones((2, 3)), np.zeros(3, int)), ValueError, "targets"),
        ((np.ones((2, 3)), np.zeros((2, 1), int)), ValueError, "targets"),
        ((np.ones((2, 0)), np.zeros(2, int)), ValueError, "predictions"),
        ((np.ones(()), np.zeros((), int)), ValueError, "predictions"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, names, jit):
    with pytest.raises(error, match=names):
        (jax.jit(losses.softmax) if jit else losses.softmax)(*arguments)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_wrong_smoothing_is_named(smoothing):
    with pytest.raises(ValueError, match="label_smoothing"):
        losses.softmax(np.ones((2, 3)), np.zeros(2, int), smoothing)

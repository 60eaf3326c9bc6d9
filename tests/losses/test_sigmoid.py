import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special
from sklearn.metrics import log_loss

from mtljax import losses


@pytest.mark.parametrize("jit", [False, True])
def test_equals_sklearn(rng, jit):
    logits = rng.normal(size=50).astype(np.float32) * 3
    targets = rng.integers(2, size=50)
    f = jax.jit(losses.sigmoid) if jit else losses.sigmoid
    expected = log_loss(targets, special.expit(logits.astype(np.float64)), labels=[0, 1])
    np.testing.assert_allclose(f(logits, targets).mean(), expected, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("dtype", [bool, np.int32, np.float32])
def test_equals_two_class_softmax(rng, smoothing, dtype):
    logits, targets = rng.normal(size=(4, 5)).astype(np.float32), rng.integers(2, size=(4, 5))
    pairs = np.stack([np.zeros_like(logits), logits], axis=-1)
    np.testing.assert_allclose(
        losses.sigmoid(logits, targets.astype(dtype), smoothing),
        losses.softmax(pairs, targets, smoothing),
        rtol=1e-6,
        atol=1e-6,
    )


def test_extremes_are_exact_and_smooth():
    logits = jnp.array([-1e30, -20.0, 20.0, 1e30])
    np.testing.assert_allclose(
        losses.sigmoid(logits, jnp.ones(4)), [1e30, 20.0, np.exp(-20.0), 0], rtol=1e-6
    )
    slope = jax.grad(lambda z: losses.sigmoid(z, jnp.ones(4)).sum())(logits)
    np.testing.assert_allclose(slope, [-1, -1, -np.exp(-20.0), 0], rtol=1e-6, atol=1e-12)


def test_low_and_high_precision():
    assert losses.sigmoid(jnp.ones(2, jnp.bfloat16), jnp.ones(2)).dtype == jnp.float32
    with jax.enable_x64(True):
        result = losses.sigmoid(np.array([0.3]), np.array([1]))
        np.testing.assert_allclose(result, np.log1p(np.exp(-0.3)), rtol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "error", "names"),
    [
        ((jnp.ones(2, int), jnp.ones(2)), TypeError, "predictions"),
        ((jnp.ones(2), jnp.ones(2, complex)), TypeError, "targets"),
        ((jnp.ones((2, 1)), jnp.ones(2)), ValueError, "targets"),
        ((jnp.ones(2), jnp.ones(2), 1.5), ValueError, "label_smoothing"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, names):
    with pytest.raises(error, match=names):
        losses.sigmoid(*arguments)

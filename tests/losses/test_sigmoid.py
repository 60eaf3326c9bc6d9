import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special
from sklearn.metrics import log_loss

from mtljax import losses

sigmoid = jax.jit(losses.sigmoid)


@pytest.mark.parametrize("jit", [False, True])
def test_equals_sklearn(rng, jit):
    logits = rng.normal(size=50).astype(np.float32) * 3
    targets = rng.integers(2, size=50)
    f = sigmoid if jit else losses.sigmoid
    expected = log_loss(targets, special.expit(logits.astype(np.float64)), labels=[0, 1])
    np.testing.assert_allclose(np.mean(f(logits, targets)), expected, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("dtype", [bool, np.int32, np.float32])
def test_equals_two_class_softmax(rng, smoothing, dtype):
    logits, targets = rng.normal(size=(4, 5)).astype(np.float32), rng.integers(2, size=(4, 5))
    pairs = np.stack([np.zeros_like(logits), logits], axis=-1)
    smooth = (1 - smoothing) * np.eye(2)[targets] + smoothing / 2
    np.testing.assert_allclose(
        jax.jit(losses.sigmoid)(logits, targets.astype(dtype), smoothing),
        -np.sum(smooth * special.log_softmax(pairs.astype(np.float64), axis=-1), axis=-1),
        rtol=1e-6,
        atol=1e-6,
    )


def test_extremes_are_exact_and_smooth():
    logits = np.float32([-1e30, -20.0, 20.0, 1e30])
    np.testing.assert_allclose(
        sigmoid(logits, np.ones(4)), [1e30, 20.0, np.exp(-20.0), 0], rtol=1e-6
    )
    slope = jax.jit(jax.grad(lambda z: losses.sigmoid(z, np.ones(4)).sum()))(logits)
    np.testing.assert_allclose(slope, [-1, -1, -np.exp(-20.0), 0], rtol=1e-6, atol=1e-12)


def test_low_and_high_precision():
    assert jax.eval_shape(losses.sigmoid, np.ones(2, jnp.bfloat16), np.ones(2)).dtype == jnp.float32
    with jax.enable_x64(True):
        result = sigmoid(np.array([0.3]), np.array([1]))
        np.testing.assert_allclose(result, np.log1p(np.exp(-0.3)), rtol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "error", "names"),
    [
        ((np.ones(2, int), np.ones(2)), TypeError, "predictions"),
        ((np.ones(2), np.ones(2, complex)), TypeError, "targets"),
        ((np.ones((2, 1)), np.ones(2)), ValueError, "targets"),
        ((np.ones(2), np.ones(2), 1.5), ValueError, "label_smoothing"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, names):
    with pytest.raises(error, match=names):
        losses.sigmoid(*arguments)

import jax
import numpy as np
import pytest
from sklearn.metrics import hinge_loss

from mtljax import losses


@pytest.mark.parametrize("jit", [False, True])
def test_binary_equals_sklearn(rng, jit):
    scores, targets = rng.normal(size=40).astype(np.float32), rng.integers(2, size=40)
    f = jax.jit(losses.hinge) if jit else losses.hinge
    expected = hinge_loss(targets, scores, labels=[0, 1])
    np.testing.assert_allclose(np.mean(f(scores, targets)), expected, rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
def test_multiclass_equals_sklearn(rng, jit):
    scores, targets = rng.normal(size=(40, 5)).astype(np.float32), rng.integers(5, size=40)
    f = jax.jit(losses.multiclass_hinge) if jit else losses.multiclass_hinge
    expected = hinge_loss(targets, scores, labels=range(5))
    np.testing.assert_allclose(np.mean(f(scores, targets)), expected, rtol=1e-6)


def test_two_classes_are_the_binary_loss(rng):
    scores, targets = rng.normal(size=(7, 2)).astype(np.float32), rng.integers(2, size=7)
    binary = np.maximum(0, 1 - (2 * targets - 1) * (scores[:, 1] - scores[:, 0]))
    found = jax.jit(losses.multiclass_hinge)(scores, targets)
    np.testing.assert_allclose(found, binary, atol=1e-6)


hinge_slope = jax.jit(jax.grad(losses.hinge))
multiclass = jax.jit(jax.value_and_grad(losses.multiclass_hinge))


def test_subgradient_at_the_margin_is_zero():
    assert hinge_slope(1.0, 1) == 0
    assert hinge_slope(0.5, 1) == -1


def test_gradient_moves_target_and_rival_only():
    _, slope = multiclass(np.float32([0.0, 0.2, -3.0]), 0)
    np.testing.assert_array_equal(slope, [-1, 1, 0])


@pytest.mark.parametrize("bad", [-1, 3])
def test_target_out_of_range_is_nan_without_gradient(bad):
    value, slope = multiclass(np.arange(3, dtype=np.float32), bad)
    assert np.isnan(value)
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize(
    ("f", "arguments", "error", "names"),
    [
        (losses.hinge, (np.ones(2, int), np.ones(2)), TypeError, "predictions"),
        (losses.hinge, (np.ones((2, 2)), np.ones(2)), ValueError, "targets"),
        (losses.multiclass_hinge, (np.ones((2, 3)), np.ones(2)), TypeError, "targets"),
        (losses.multiclass_hinge, (np.ones((2, 3)), np.ones(3, int)), ValueError, "targets"),
        (losses.multiclass_hinge, (np.ones((2, 1)), np.ones(2, int)), ValueError, "predictions"),
    ],
)
def test_wrong_arguments_are_named(f, arguments, error, names):
    with pytest.raises(error, match=names):
        f(*arguments)

"""COSMOS against finite differences of its objective."""

import jax
import numpy as np
import pytest

from mtljax.weighting.cosmos import cosmos
from tests.weighting.steps import derivative, steps

DEFAULT, STRONG, ONE_TO_THREE = (
    jax.jit(cosmos(*options).update) for options in ((), (None, 1e9), ([1.0, 2.0, 3.0], 5.0))
)


@pytest.mark.parametrize("pref", [None, [1.0, 0.0, 2.0, 0.3]])
def test_equals_finite_differences(rng, pref):
    ray = np.full(4, 0.25) if pref is None else np.array(pref)

    def objective(losses):
        cosine = ray @ losses / np.linalg.norm(ray) / np.linalg.norm(losses)
        return ray @ losses - 2.0 * cosine

    rows = rng.uniform(-5, 5, (6, 4))
    expected = [derivative(objective, losses) for losses in rows]
    np.testing.assert_allclose(steps(cosmos(pref, 2.0), rows)[0], expected, rtol=1e-6, atol=1e-8)
    found = steps(cosmos(pref, 2.0), rows, dtype="float32")[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # lambda is in units of the losses.
    small = steps(cosmos(pref, 2.0e-20), rows * 1e-20)[0]
    np.testing.assert_allclose(small, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("size", [0.0, 1e-40, 1e-30, 1.0, 1e30, 3e38])
def test_losses_in_proportion_to_the_preference(size):
    weights, _ = ONE_TO_THREE(np.array([1.0, 2.0, 3.0]) / 3 * size, ())
    np.testing.assert_allclose(weights, [1, 2, 3], rtol=1e-6)
    np.testing.assert_allclose(DEFAULT(np.full(1, -size), ())[0], 1, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-40, 1e-38, 1e-30, 1e30, 1e38])
def test_losses_of_any_size(scale):
    weights, _ = STRONG(np.array([1.0, -2.0, 3.0]) * scale, ())
    assert np.isfinite(weights).all()


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: cosmos([0.0, 0.0]), "weights"),
        (lambda: cosmos(lam=-1.0), "lam"),
        (lambda: cosmos([1.0, 2.0]).init(3), "weights"),
    ],
)
def test_wrong_arguments_are_named(call, names):
    with pytest.raises(ValueError, match=names):
        call()

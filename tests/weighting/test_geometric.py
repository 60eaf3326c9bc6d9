"""The geometric mean against finite differences and SciPy."""

import jax
import numpy as np
import pytest
from scipy import stats

from mtljax.weighting.geometric import geometric
from tests.weighting.steps import derivative, steps

UPDATE = jax.jit(geometric().update)


def test_equals_finite_differences(rng):
    rows = rng.uniform(0.1, 5, (8, 5))
    found, _ = steps(geometric(), rows)
    for losses, weights in zip(rows, found, strict=True):
        np.testing.assert_allclose(weights, derivative(stats.gmean, losses), rtol=1e-7)


def test_what_is_weighted_is_the_same_for_all_tasks_in_any_unit():
    losses = np.array([1e-15, 1.0, 1e15])
    found, _ = steps(geometric(), losses[None], dtype="float32")
    np.testing.assert_allclose(found[0] * losses, 1 / 3, rtol=1e-4)


@pytest.mark.parametrize("size", [-1.0, 0.0, 1e-40, 1e-30, 1.0, 1e30, 3e38])
def test_equal_losses_have_equal_weights(size):
    weights, _ = UPDATE(np.full(4, size), ())
    np.testing.assert_allclose(weights, 0.25, rtol=1e-6)
    weights, _ = UPDATE(np.full(1, size), ())
    np.testing.assert_allclose(weights, 1, rtol=1e-6)


def test_weights_are_limited():
    weights, _ = UPDATE(np.array([0.0, 3e38]), ())
    limit = float(np.finfo(np.float32).tiny) ** -0.5
    np.testing.assert_allclose(weights, [limit / 2, 1 / limit / 2], rtol=1e-4)

"""Floors and multiplicative updates against the problems that they solve."""

import numpy as np
import pytest
from scipy.optimize import minimize

from mtljax.mixtures import floored, tilted


def nearest(rates, floor):
    """The divergence from rates, minimized by a general solver."""
    least = floor / rates.size
    found = minimize(
        lambda p: np.sum(p * np.log(p / rates)),
        np.full(rates.size, 1 / rates.size),
        jac=lambda p: np.log(p / rates) + 1,
        bounds=[(max(least, 1e-12), 1)] * rates.size,
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1, "jac": np.ones_like},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return found.x


@pytest.mark.parametrize("floor", [0.0, 0.2, 0.7, 1.0])
def test_floored_rates_are_the_nearest(floor):
    rates = np.random.default_rng(round(10 * floor)).dirichlet([0.5] * 5)
    np.testing.assert_allclose(floored(rates, floor), nearest(rates, floor), atol=2e-6)


def test_rates_above_the_floor_stay():
    rates = np.array([0.5, 0.3, 0.2])
    np.testing.assert_allclose(floored(rates, 0.6), rates, rtol=1e-15)


def test_groups_that_are_masked_stay():
    rates = np.array([0.4, 0.3, 0.3, 0.0])
    found = floored(rates, 0.4, np.array([True, False, True, True]))
    np.testing.assert_allclose(found, [0.6 * 4 / 7, 0.3, 0.6 * 3 / 7, 0.1], rtol=1e-14)


def test_tilted_is_a_step_of_mirror_descent():
    rates, scores = np.array([0.2, 0.5, 0.3]), np.array([1.0, -2.0, 0.5])
    expected = rates * np.exp(scores)
    np.testing.assert_allclose(tilted(rates, scores), expected / expected.sum(), rtol=1e-14)


def test_scores_of_any_size_make_rates():
    found = tilted(np.array([0.0, 0.5, 0.5]), np.array([-1e300, 1e300, 0.0]))
    np.testing.assert_array_equal(found, [0, 1, 0])

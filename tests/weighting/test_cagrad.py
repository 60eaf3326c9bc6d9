import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from mtljax.weighting.cagrad import cagrad
from tests.weighting.oracles import (
    error,
    every_problem,
    into_dual_cone,
    least_distance,
    shortest,
    table,
)
from tests.weighting.padded import conflict, unit, weights


def best(rows, c):
    """The direction of the paper's problem, nearest to the mean; None if the mean is zero.

    By bisection of the gain that all tasks get, each a least-distance problem for d - g0.
    """
    units, norms = unit(rows)
    mean = rows.mean(0)
    length = np.linalg.norm(mean)
    if length <= 1e-12 * norms.max():
        return None
    cone = into_dual_cone(rows, mean)
    # Zero in the hull up to the rounding of a Gramian: no direction improves all tasks.
    stuck = np.linalg.norm(shortest(rows)) <= 1e-6 * norms.min()
    if stuck and np.linalg.norm(cone - mean) <= c * length * (1 + 1e-12):
        return cone
    asks = norms[norms > 0].min() / np.where(norms > 0, norms, np.inf)
    gains = units @ mean / length

    def change(gain):
        bounds = gain * asks - gains
        return np.zeros(len(mean)) if (bounds <= 0).all() else least_distance(units, bounds)

    def excess(gain):
        found = change(gain)
        return 1e9 if found is None else np.linalg.norm(found) - c

    use = asks > 0
    low = min(gains[use] / asks[use])
    high = 0 if stuck else min((gains + c)[use] / asks[use])
    if excess(high) > 0:
        high = brentq(excess, low, high, xtol=1e-300, rtol=1e-14, maxiter=2000)
    found = change(high)
    assert found is not None
    return mean + length * found


CAGRAD = functools.partial(cagrad, rescale=0)


@pytest.mark.parametrize(
    ("c", "dtype", "tolerance"),
    [(0.4, "float64", 1e-6), (1.0, "float64", 1e-6), (0.4, "float32", 1e-3)],
)
def test_is_the_best_for_the_worst_task(c, dtype, tolerance):
    cases = every_problem()
    for case, found in zip(cases, weights(CAGRAD, cases, dtype, options=(c,)), strict=True):
        _, norms = unit(case.rows)
        wanted = best(case.rows, c)
        if wanted is None:
            np.testing.assert_allclose(case.rows.T @ found, 0, atol=1e-6 * norms.max())
        elif dtype == "float64" or not nearly_stationary(case.rows):
            assert error(case.rows, found, wanted) <= tolerance, case.name
        if c == 1:
            assert conflict(case.rows, found) >= -1e-12, case.name


def nearly_stationary(rows):
    """Whether the hull is so near to zero that a float32 Gramian cannot tell how near."""
    _, norms = unit(rows)
    nearest = np.linalg.norm(shortest(rows))
    return 1e-6 * norms.min() < nearest < 3e-2 * norms.min()


def test_degenerate():
    cases = [
        ([[3.0]], [1.5]),
        ([[0.0]], [1]),
        ([[0, 0], [0, 0]], [0.5, 0.5]),
        ([[1], [-1]], [0.5, 0.5]),
        ([[1, 0], [0, 0]], [0.5, 0.5]),
        ([[1, 0], [0, 1]], [0.75, 0.75]),
    ]
    found = weights(CAGRAD, table(*(rows for rows, _ in cases)), "float32", options=(0.5,), size=50)
    for each, (rows, expected) in zip(found, cases, strict=True):
        np.testing.assert_allclose(each, expected, rtol=1e-6, err_msg=str(rows))


ROWS = np.array([[1.0, 0.3], [-0.4, 2.0]])


def test_preference_and_rescale():
    """No direction in the ball, of a fine circle, is better for the worst task."""
    pref, c = np.array([0.5, 0.25]), 0.3
    update = jax.jit(lambda g: cagrad(c, 2, pref).update(jnp.ones(2), (), gramian=g)[0])
    found = update(ROWS @ ROWS.T)
    direction, mean = (1 + c) * ROWS.T @ found, pref @ ROWS
    angles = np.linspace(0, 2 * np.pi, 10001)
    circle = mean + c * np.linalg.norm(mean) * np.stack([np.cos(angles), np.sin(angles)], 1)
    assert np.linalg.norm(direction - mean) == pytest.approx(c * np.linalg.norm(mean), rel=1e-5)
    assert min(ROWS @ direction) == pytest.approx((circle @ ROWS.T).min(1).max(), rel=1e-5)


def test_radius_may_be_traced_and_zero():
    @jax.jit
    def update(c):
        return cagrad(c).update(jnp.ones(2), (), gramian=jnp.array(ROWS @ ROWS.T))[0]

    np.testing.assert_array_equal(update(0.0), [0.5, 0.5])
    np.testing.assert_allclose(1.49 * ROWS.T @ update(0.7), best(ROWS, 0.7), rtol=1e-5)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="c must"):
        cagrad(-0.1)
    with pytest.raises(ValueError, match="rescale"):
        cagrad(rescale=3)
    with pytest.raises(ValueError, match="pref"):
        cagrad(pref=[1.0, 2.0]).init(3)

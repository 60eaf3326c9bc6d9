"""ConicGrad against bisection of the gain on the cone's surface, from the gradients themselves."""

import numpy as np
import pytest
from scipy.optimize import brentq

from mtljax.weighting.conic_grad import conic_grad
from tests.weighting.oracles import error, into_dual_cone, least_distance, shortest, table
from tests.weighting.padded import NUMBERS_OF_TASKS, answers, conflict, problems, unit, weights

CASES = problems(NUMBERS_OF_TASKS[0])


def best(rows, c):
    """The direction of the paper's problem; None if the mean is zero or where none improves all."""
    units, norms = unit(rows)
    mean = rows.mean(0)
    length = np.linalg.norm(mean)
    nearest = shortest(rows)
    size = np.linalg.norm(nearest)
    if length <= 1e-12 * norms.max() or size <= 1e-6 * norms.min():
        return None
    if nearest @ mean >= c * size * length:
        return nearest * length / size
    axis = mean / length
    across = units - np.outer(units @ axis, axis)
    gains, asks = units @ axis, norms.min() / norms

    def added(gain):
        bounds = gain * asks - gains
        return np.zeros(len(mean)) if (bounds <= 0).all() else least_distance(across, bounds)

    def excess(gain):
        vector = added(gain)
        return 1e9 if vector is None else np.linalg.norm(vector) - np.sqrt(1 - c**2) / c

    low, high = min(gains / asks), 1 / c
    while excess(low) > 0:
        low -= 1
    vector = added(brentq(excess, low, high, xtol=1e-300, rtol=1e-14, maxiter=2000))
    assert vector is not None
    direction = axis + vector
    return direction * length / np.linalg.norm(direction)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-6), ("float32", 2e-3)])
def test_is_the_best_of_the_cone_for_the_worst_task(dtype, tolerance):
    compared = 0
    for c in (0.2, 0.6, 0.9):
        for case, w in zip(CASES, weights(conic_grad, CASES, dtype, options=(c,)), strict=True):
            wanted = best(case.rows, c)
            mean = case.rows.mean(0)
            direction, length = case.rows.T @ w, np.linalg.norm(mean)
            if wanted is None:
                continue
            _, norms = unit(case.rows)
            compared += 1
            if np.linalg.norm(shortest(case.rows)) > 3e-2 * norms.min() or dtype == "float64":
                assert error(case.rows, w, wanted) < tolerance, (case.name, c)
            assert np.linalg.norm(direction) == pytest.approx(length, rel=1e-3), case.name
            assert direction @ mean > (c - 1e-3) * length**2, case.name
    assert compared > len(CASES)


def test_ends_of_the_range():
    """With c = 1 the mean; with c = 0 MGDA's direction; a half space of it never conflicts."""
    for case, mean, half in zip(
        CASES,
        weights(conic_grad, CASES, "float64", options=(1.0,)),
        weights(conic_grad, CASES, "float64", options=(0.0,)),
        strict=True,
    ):
        assert error(case.rows, mean, case.rows.mean(0)) < 1e-9, case.name
        if best(case.rows, 0) is not None:
            assert conflict(case.rows, half) > -1e-9, case.name


def test_no_direction_improves_all():
    """As near to the mean as no task's loss allows, at its length."""
    rows = np.array([[1.0, 0.0, 0.5], [-1.0, 0.5, 0.2], [0.0, -0.5, -0.3], [0.0, 0.0, 0.0]])
    (w,) = weights(conic_grad, table(rows.tolist()), "float64", options=(0.3,))
    mean = rows.mean(0)
    wanted = into_dual_cone(rows[:3], mean)
    wanted *= np.linalg.norm(mean) / np.linalg.norm(wanted)
    np.testing.assert_allclose(rows.T @ w, wanted, rtol=1e-6, atol=1e-9)


def test_degenerate():
    cases = [
        ([[3.0]], [1]),
        ([[0.0]], [1]),
        ([[1], [-1]], [0.5, 0.5]),
        ([[0, 0], [0, 0]], [0.5, 0.5]),
    ]
    found = weights(conic_grad, table(*(rows for rows, _ in cases)), "float32", options=(0.5,))
    for each, (rows, expected) in zip(found, cases, strict=True):
        np.testing.assert_allclose(each, expected, rtol=1e-6, err_msg=str(rows))
    (identical,) = weights(conic_grad, table([[1, 2], [1, 2]]), "float64", options=(0.5,))
    assert identical.sum() == pytest.approx(1)


def test_wrong_arguments():
    for c in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="c must"):
            conic_grad(c)
    with pytest.raises(ValueError, match="pref"):
        conic_grad(pref=[1.0, 2.0]).init(3)


def test_preference():
    """A gradient that counts for nothing in the mean still has to gain."""
    rows = np.array([[1.0, 0.2], [-0.3, 1.0]])
    (w,) = answers(conic_grad(0.9, [1.0, 0.0]), [rows @ rows.T], size=2)
    direction = rows.T @ w
    angles = np.linspace(-np.arccos(0.9), np.arccos(0.9), 10001) + np.arctan2(0.2, 1)
    cone = np.linalg.norm(rows[0]) * np.stack([np.cos(angles), np.sin(angles)], 1)
    assert min(rows @ direction) == pytest.approx((cone @ rows.T).min(1).max(), rel=1e-4)

"""PBI against finite differences of its objective."""

import jax
import numpy as np
import pytest

from mtljax.weighting.pbi import pbi
from tests.weighting.steps import derivative, steps


def objective(losses, pref, theta, ideal):
    along = pref / np.linalg.norm(pref)
    apart = losses - ideal
    return apart @ along + theta * np.linalg.norm(apart - (apart @ along) * along)


DEFAULT, ONE_TO_THREE = (jax.jit(pbi(pref).update) for pref in (None, [1.0, 2.0, 3.0]))


@pytest.mark.parametrize("pref", [None, [1.0, 0.0, 2.0, 0.3]])
def test_equals_finite_differences(rng, pref):
    ideal = np.array([0.0, 0.5, -1.0, 0.1])
    rows = rng.uniform(0.1, 5, (6, 4))
    ray = np.ones(4) if pref is None else np.array(pref)
    expected = [derivative(lambda x: objective(x, ray, 2.0, ideal), losses) for losses in rows]
    for scale in (1e-30, 1.0, 1e30):
        method = pbi(pref, 2.0, ideal * scale)
        np.testing.assert_allclose(steps(method, rows * scale)[0], expected, rtol=1e-6, atol=1e-8)
    found = steps(pbi(pref, 2.0, ideal), rows, dtype="float32")[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [-3e38, -1.0, 0.0, 1e-40, 1e-30, 1.0, 1e30, 3e38])
def test_on_the_ray_the_weights_are_its_direction(size):
    weights, _ = ONE_TO_THREE(np.array([1.0, 2.0, 3.0]) / 3 * size, ())
    np.testing.assert_allclose(weights, np.array([1, 2, 3]) / 14**0.5, rtol=1e-5)
    weights, _ = DEFAULT(np.full(1, size), ())
    np.testing.assert_allclose(weights, 1, rtol=1e-6)


def test_the_ends_of_the_numbers():
    weights, _ = jax.jit(pbi(ideal=-3e38).update)(np.array([3e38, -3e38, 0.0]), ())
    assert np.isfinite(weights).all() and np.abs(weights).max() <= 6


def test_absent_tasks():
    update = jax.jit(pbi([1.0, 0.0, 0.0], theta=2.0).update)
    mask = np.array([False, True, True])
    weights, _ = update(np.array([9.0, 3.0, 4.0]), (), mask=mask)
    np.testing.assert_allclose(weights, [0, 1.2, 1.6], rtol=1e-6)
    weights, _ = update(np.array([1.0, np.nan, 4.0]), (), mask=np.ones(3, bool))
    np.testing.assert_allclose(weights, [1, 0, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: pbi([0.0, 0.0]), "weights"),
        (lambda: pbi(theta=-1.0), "theta"),
        (lambda: pbi(ideal=[np.nan]), "ideal"),
        (lambda: pbi([1.0, 2.0]).init(3), "weights"),
        (lambda: pbi(ideal=[1.0, 2.0]).init(3), "ideal"),
    ],
)
def test_wrong_arguments_are_named(call, names):
    with pytest.raises(ValueError, match=names):
        call()

import jax
import numpy as np
import pytest
from scipy.optimize import brentq

from mtljax.solvers.simplex import project_simplex


def threshold(y):
    """The point is max(y - t, 0), with the t for which it sums to 1."""
    t = brentq(lambda t: np.maximum(y - t, 0).sum() - 1, y.min() - 1, y.max(), xtol=1e-15)
    return np.maximum(y - t, 0)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
def test_equals_the_root_of_its_threshold(rng, dtype, tolerance):
    points = rng.normal(size=(80, 7)) * 10 ** rng.uniform(-3, 1, (80, 1))
    points[:20] = np.round(points[:20])
    present = rng.uniform(size=points.shape) < 0.8
    present[:, 2] = True
    with jax.enable_x64(dtype == "float64"):
        found = np.asarray(jax.jit(jax.vmap(project_simplex))(points.astype(dtype), present))
    assert found.dtype == dtype and (found[~present] == 0).all()
    for y, here, point in zip(points, present, found, strict=True):
        np.testing.assert_allclose(
            point[here], threshold(y[here]), atol=tolerance * (1 + abs(y).max())
        )


def test_edges():
    project = jax.jit(project_simplex)
    cases = [
        ([3.0, 3, 3], [1 / 3] * 3),
        ([1e30, -1e30, 0], [1, 0, 0]),
        ([1e30, 1e30, 0], [0.5, 0.5, 0]),
        ([-3e38, 3e38, 3e38], [0, 0.5, 0.5]),
        ([-1e20, -1e20, -1e20], [1 / 3] * 3),
        ([0.5, 0.25, 0.25], [0.5, 0.25, 0.25]),
    ]
    for y, expected in cases:
        np.testing.assert_allclose(project(np.float32(y)), expected, rtol=1e-6)
    np.testing.assert_array_equal(project(np.float32([7])), [1])
    np.testing.assert_array_equal(project(np.ones(2), np.zeros(2, bool)), [0, 0])

import jax
import numpy as np
import pytest

from mtljax.solvers.dual_cone import dual_cone
from mtljax.solvers.least_change import least_change
from mtljax.solvers.unit_gramian import unit_gramian

SIZE = 5


@jax.jit
def both(gramian, lengths, radius):
    cosines, norms = unit_gramian(gramian)
    return least_change(cosines, norms, lengths, radius), dual_cone(cosines, lengths), norms


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-3)])
def test_is_certified_by_the_dual_problem(rng, dtype, tolerance):
    """The least gain of d is at most w'G u + c |g0| |w'J| for every w in the simplex."""
    rows = rng.normal(size=(90, SIZE, SIZE + 2)) * 10 ** rng.uniform(-1, 1, (90, SIZE, 1))
    rows[30:60] -= 0.7 * rows[30:60].mean(1, keepdims=True)
    rows[60:, 0] = -0.5 * rows[60:, 1] + 0.3 * rows[60:, 0]
    radii = np.tile([0.1, 0.5, 2.0], 30)
    lengths = (np.linalg.norm(rows, axis=2) / SIZE).astype(dtype)
    gramians = (rows @ rows.transpose(0, 2, 1)).astype(dtype)
    with jax.enable_x64(dtype == "float64"):
        answers = [both(*each) for each in zip(gramians, lengths, radii.astype(dtype), strict=True)]
    found = np.array([np.asarray(x).astype(float) / np.asarray(norms) for x, _, norms in answers])
    assert (found >= 0).all()
    compared = 0
    for each, added, c in zip(rows, found, radii, strict=True):
        mean = each.mean(0)
        radius = c * np.linalg.norm(mean)
        direction = mean + added @ each
        if dtype == "float32" and added @ np.linalg.norm(each, axis=1) > 100 * radius:
            continue  # y cancels to 1 %: a float32 Gramian knows its length to 1e-3
        compared += 1
        scale = radius * np.linalg.norm(each, axis=1).min()
        assert np.linalg.norm(direction - mean) <= radius * (1 + tolerance)
        share = added / added.sum()
        bound = share @ each @ mean + radius * np.linalg.norm(share @ each)
        assert min(each @ direction) >= bound - tolerance * (scale + abs(bound))
    assert compared > 80


def test_stationary_and_zero_rows_change_as_little_as_they_must():
    def changes(rows, radius):
        """Of three rows, and two zero ones."""
        rows = np.pad(np.float32(rows), ((0, 2), (0, 0)))
        lengths = np.linalg.norm(rows, axis=1) / 3
        change, cone, _ = both(rows @ rows.T, lengths, np.float32(radius))
        assert not np.any(change[3:]) and not np.any(cone[3:])
        return change[:3], cone[:3]

    # The first two cancel, so nobody gains more than 0.
    found, expected = changes([[1.0, 0.0, 0.0], [-2.0, 0.0, 0.0], [0.0, 1.0, 0.0]], 2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    found, expected = changes([[1.0, 0.2, 0.0], [-2.0, 0.5, 0.0], [0.0, 0.0, 0.0]], 2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # Outside the ball: as near to that as the ball allows, along the line to it.
    found, expected = changes([[1.0, 0.0, 0.0], [-2.0, 0.0, 0.0], [0.0, 1.0, 0.0]], 0.1)
    assert 0 < found[0] < expected[0]
    # The mean is zero.
    np.testing.assert_array_equal(
        changes([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], 0.5)[0], 0
    )

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.solvers.dual_cone import dual_cone
from mtljax.solvers.least_change import least_change
from mtljax.solvers.unit_gramian import unit_gramian


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-3)])
def test_is_certified_by_the_dual_problem(rng, dtype, tolerance):
    """The least gain of d is at most w'G u + c |g0| |w'J| for every w in the simplex."""
    num_tasks = 5
    rows = rng.normal(size=(90, num_tasks, num_tasks + 2)) * 10 ** rng.uniform(
        -1, 1, (90, num_tasks, 1)
    )
    rows[30:60] -= 0.7 * rows[30:60].mean(1, keepdims=True)
    rows[60:, 0] = -0.5 * rows[60:, 1] + 0.3 * rows[60:, 0]
    radii = np.tile([0.1, 0.5, 2.0], 30)
    with jax.enable_x64(dtype == "float64"):

        @jax.jit
        @jax.vmap
        def solve(gramian, radius):
            cosines, norms = unit_gramian(gramian)
            return least_change(cosines, norms, norms / num_tasks, radius) / norms

        gramians = jnp.asarray(rows @ rows.transpose(0, 2, 1), dtype)
        found = np.asarray(solve(gramians, jnp.asarray(radii, dtype)), np.float64)
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
    @jax.jit
    def both(rows, radius):
        cosines, norms = unit_gramian(rows @ rows.T)
        lengths = norms / len(rows)
        return least_change(cosines, norms, lengths, radius), dual_cone(cosines, lengths)

    # The first two cancel, so nobody gains more than 0.
    found, expected = both(jnp.array([[1.0, 0.0, 0.0], [-2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    found, expected = both(jnp.array([[1.0, 0.2, 0.0], [-2.0, 0.5, 0.0], [0.0, 0.0, 0.0]]), 2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # Outside the ball: as near to that as the ball allows, along the line to it.
    found, expected = both(jnp.array([[1.0, 0.0, 0.0], [-2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 0.1)
    assert 0 < found[0] < expected[0]
    # The mean is zero.
    np.testing.assert_array_equal(
        both(jnp.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), 0.5)[0], 0
    )

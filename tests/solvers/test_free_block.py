import jax.numpy as jnp
import numpy as np

from mtljax.solvers.free_block import factor_free, solve_factored, solve_free


def test_solves_the_free_block(rng):
    rows = rng.normal(size=(6, 9))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    matrix, target = rows @ rows.T, rng.normal(size=6)
    free = np.array([True, False, True, True, False, True])
    expected = np.zeros(6)
    expected[free] = np.linalg.solve(matrix[np.ix_(free, free)], target[free])
    found = solve_free(jnp.asarray(matrix), jnp.asarray(target), free)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    none = solve_free(jnp.asarray(matrix), jnp.asarray(target), np.zeros(6, bool))
    np.testing.assert_array_equal(none, 0)


def test_factor():
    matrix = np.array([[1, 0.6, 0], [0.6, 1, 0], [0, 0, 0]])
    lower = factor_free(jnp.asarray(matrix), np.array([True, True, False]))
    expected = np.array([[1, 0, 0], [0.6, 0.8, 0], [0, 0, 1]])
    np.testing.assert_allclose(lower, expected, rtol=1e-5)
    np.testing.assert_allclose(
        solve_factored(lower, jnp.array([1.0, 0.0, 5.0]), np.array([True, True, False])),
        [1 / 0.64, -0.6 / 0.64, 0],
        rtol=1e-5,
    )
    indefinite = factor_free(jnp.array([[1.0, 2.0], [2.0, 1.0]]), np.ones(2, bool))
    assert np.isnan(indefinite).any()

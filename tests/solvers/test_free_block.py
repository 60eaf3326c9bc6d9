import jax
import numpy as np

from mtljax.solvers.free_block import factor_free, solve_factored, solve_free


def test_solves_the_free_block(rng):
    rows = rng.normal(size=(6, 9))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    matrix, target = rows @ rows.T, rng.normal(size=6)
    free = np.array([True, False, True, True, False, True])
    expected = np.zeros(6)
    expected[free] = np.linalg.solve(matrix[np.ix_(free, free)], target[free])
    solve = jax.jit(solve_free)
    found = solve(matrix, target, free)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    none = solve(matrix, target, np.zeros(6, bool))
    np.testing.assert_array_equal(none, 0)


def test_factor():
    matrix = np.array([[1, 0.6, 0], [0.6, 1, 0], [0, 0, 0]])
    factor, free = jax.jit(factor_free), np.array([True, True, False])
    lower = factor(matrix, free)
    expected = np.array([[1, 0, 0], [0.6, 0.8, 0], [0, 0, 1]])
    np.testing.assert_allclose(lower, expected, rtol=1e-5)
    np.testing.assert_allclose(
        jax.jit(solve_factored)(lower, np.float32([1, 0, 5]), free),
        [1 / 0.64, -0.6 / 0.64, 0],
        rtol=1e-5,
    )
    indefinite = factor(np.float32([[1, 2], [2, 1]]), np.ones(2, bool))
    assert np.isnan(indefinite).any()

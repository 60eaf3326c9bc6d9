import jax
import numpy as np
import pytest
from scipy.optimize import minimize

from mtljax.solvers.dual_cone import dual_cone

solve = jax.jit(jax.vmap(dual_cone))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-6), ("float32", 1e-3)])
def test_equals_a_minimisation_over_directions(rng, dtype, tolerance):
    """SLSQP on x itself; it stops at about 1e-7."""
    rows = rng.normal(size=(12, 4, 5))
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    lengths = rng.uniform(0, 1, (12, 4))
    cosines = (rows @ rows.transpose(0, 2, 1)).astype(dtype)
    with jax.enable_x64(dtype == "float64"):
        found = np.asarray(solve(cosines, lengths.astype(dtype)))
        large = np.asarray(solve(cosines, (1e30 * lengths).astype(dtype)))
    np.testing.assert_allclose(large / 1e30, found, rtol=1e-4, atol=1e-6)
    assert found.dtype == dtype and (found >= 0).all()
    for units, length, added in zip(rows, lengths, found, strict=True):
        target = length @ units
        best = minimize(
            lambda x, target=target: np.sum((x - target) ** 2),
            target,
            jac=lambda x, target=target: 2 * (x - target),
            constraints={
                "type": "ineq",
                "fun": lambda x, u=units: u @ x,
                "jac": lambda x, u=units: u,
            },
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 500},
        )
        np.testing.assert_allclose((length + added) @ units, best.x, atol=tolerance)


def test_no_conflict_and_nothing_to_project():
    lengths, cosines = np.zeros((12, 4), np.float32), np.zeros((12, 4, 4), np.float32)
    lengths[0, :2], cosines[:, :3, :3] = [1, 2], np.eye(3)
    np.testing.assert_array_equal(solve(cosines, lengths), 0)

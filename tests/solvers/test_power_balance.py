"""The balance against SciPy, closed forms and the equation itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from mtljax.solvers.power_balance import power_balance

solve_all = jax.jit(jax.vmap(power_balance, (0, None, 0)))


def cosine_matrix(rng, size, width, push=0.0):
    rows = rng.normal(size=(size, width))
    rows -= push * rows.mean(0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def root(matrix, power, coefficients):
    """MINPACK's hybrid method on the equation, from several starts."""
    for start in (1.0, 0.3, 3.0, 0.1, 10.0):
        found, *_ = optimize.fsolve(
            lambda y: matrix @ y - coefficients * np.abs(y) ** -power,
            np.full(len(matrix), start),
            fprime=lambda y: (
                matrix + np.diag(power * coefficients * np.sign(y) * np.abs(y) ** (-power - 1))
            ),
            xtol=1e-14,
            full_output=True,
        )
        gap = matrix @ found - coefficients * np.abs(found) ** -power
        if (found > 0).all() and np.abs(gap).max() < 1e-10:
            return found
    return None


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-8), ("float32", 1e-3)])
@pytest.mark.parametrize("size", [3, 12])
def test_equals_scipy(rng, size, dtype, rtol):
    matrices, powers, logs, expected = [], [], [], []
    for trial in range(60):
        matrix = cosine_matrix(rng, size, size + 4, push=0.8 * (trial % 2))
        power = (0.5, 1.0, 2.0)[trial % 3]
        log_c = rng.uniform(-2, 2, size)
        reference = root(matrix, power, np.exp(log_c))
        # Cosines hold weights to m eps y^2 of their own: no more than that is asked.
        if reference is not None and size * np.finfo(dtype).eps * max(reference) ** 2 < rtol / 40:
            matrices.append(matrix)
            powers.append(power)
            logs.append(log_c)
            expected.append(reference)
    assert len(expected) > 10
    with jax.enable_x64(dtype == "float64"):
        arguments = [jnp.asarray(np.array(a), dtype) for a in (matrices, powers, logs)]
        found = jax.jit(jax.vmap(power_balance))(*arguments)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=rtol)


@pytest.mark.parametrize("power", [0.2, 0.5, 1.0, 2.0, 10.0])
def test_far_apart_coefficients_keep_the_equation(rng, power):
    """18 decades apart: there SciPy does not converge; the equation tells."""
    matrices = np.stack([cosine_matrix(rng, 6, 40) for _ in range(40)])
    logs = (power - 1) * rng.uniform(-9, 9, (40, 6)) * np.log(10)
    with jax.enable_x64(True):
        y = np.asarray(solve_all(jnp.asarray(matrices), power, jnp.asarray(logs)))
    assert (y > 0).all()
    gains = np.einsum("nij,nj->ni", matrices, y)
    wanted = np.exp(logs) * y**-power
    # What a gain is summed from limits how well a small one can be met.
    summed = np.einsum("nij,nj->ni", np.abs(matrices), y)
    np.testing.assert_array_less(np.abs(gains - wanted), 1e-9 * summed)


def test_closed_forms():
    solve = jax.jit(power_balance)
    logs = jnp.log(jnp.array([1.0, 8.0, 27.0]))
    np.testing.assert_allclose(solve(jnp.eye(3), 2.0, logs), [1, 2, 3], rtol=1e-5)
    ones, none = jnp.ones((3, 3)), jnp.zeros(3)
    np.testing.assert_allclose(solve(ones, 1.0, none), 3**-0.5, rtol=1e-5)
    np.testing.assert_allclose(solve(ones, 0.5, none), 3 ** (-2 / 3), rtol=1e-5)
    for cosine in (-0.9, 0.3):
        pair = jnp.eye(3).at[0, 1].set(cosine).at[1, 0].set(cosine)
        expected = [(1 + cosine) ** -0.5] * 2 + [1]
        np.testing.assert_allclose(solve(pair, 1.0, none), expected, rtol=1e-5)


def test_a_zero_row_is_as_if_it_were_not_there(rng):
    matrix = cosine_matrix(rng, 3, 5)
    with_zero = np.zeros((4, 4))
    keep = [0, 2, 3]
    with_zero[np.ix_(keep, keep)] = matrix
    logs = np.array([0.0, 99.0, 1.0, -1.0])
    solve = jax.jit(power_balance)
    y = np.asarray(solve(jnp.asarray(with_zero), 1.5, jnp.asarray(logs)))
    assert y[1] == 0
    alone = solve(jnp.asarray(matrix), 1.5, jnp.asarray(logs[keep]))
    np.testing.assert_allclose(y[keep], alone, rtol=1e-5)
    np.testing.assert_array_equal(solve(jnp.zeros((4, 4)), 1.5, jnp.asarray(logs)), 0)


@pytest.mark.parametrize("power", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_a_solution_the_direction_stays_bounded(rng, power, dtype):
    """Opposite, stationary and indefinite matrices: |d|^2 is at most the sum of c y^(1-p)."""
    opposite = np.outer([1, -1, 1, -1], [1, -1, 1, -1])
    centred = rng.normal(size=(4, 6))
    centred -= centred.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    indefinite = 2 * np.eye(4) - 1
    noisy = centred @ centred.T + 1e-4 * np.outer([0, 1, -1, 0], [0, 1, -1, 0])
    np.fill_diagonal(noisy, 1)
    stack = np.stack([opposite, centred @ centred.T, indefinite, (noisy + noisy.T) / 2])
    with jax.enable_x64(dtype == "float64"):
        y = solve_all(jnp.asarray(stack, dtype), power, jnp.zeros((4, 4), dtype))
    y = np.asarray(y, float)
    assert np.isfinite(y).all() and (y > 0).all()
    squares = np.einsum("ni,nij,nj->n", y, stack, y)
    bounds = (y ** (1 - power)).sum(1)
    noise = 8 * np.finfo(dtype).eps * y.sum(1) ** 2
    assert (squares <= 1.01 * bounds + noise).all()

"""The balance against SciPy, closed forms and the equation itself."""

import jax
import numpy as np
import pytest
from scipy import optimize

from mtljax.solvers.power_balance import power_balance

SIZE = 12
solve = jax.jit(power_balance)


def balance(matrices, powers, logs, dtype="float32", size=SIZE):
    """``[N, T]``; with zero rows, so that all problems share a program."""
    tasks, found = matrices.shape[1], []
    with jax.enable_x64(dtype == "float64"):
        for matrix, power, log_c in zip(
            matrices, np.broadcast_to(powers, len(matrices)), logs, strict=True
        ):
            full, shares = np.zeros((size, size), dtype), np.zeros(size, dtype)
            full[:tasks, :tasks], shares[:tasks] = matrix, log_c
            y = np.asarray(solve(full, power.astype(dtype), shares))
            assert y.dtype == dtype and (y[tasks:] == 0).all()
            found.append(y[:tasks])
    return np.stack(found)


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
    found = balance(np.array(matrices), powers, logs, dtype)
    np.testing.assert_allclose(found, expected, rtol=rtol)


@pytest.mark.parametrize("power", [0.2, 0.5, 1.0, 2.0, 10.0])
def test_far_apart_coefficients_keep_the_equation(rng, power):
    """18 decades apart: there SciPy does not converge; the equation tells."""
    matrices = np.stack([cosine_matrix(rng, 6, 40) for _ in range(40)])
    logs = (power - 1) * rng.uniform(-9, 9, (40, 6)) * np.log(10)
    y = balance(matrices, power, logs, "float64")
    assert (y > 0).all()
    gains = np.einsum("nij,nj->ni", matrices, y)
    wanted = np.exp(logs) * y**-power
    # What a gain is summed from limits how well a small one can be met.
    summed = np.einsum("nij,nj->ni", np.abs(matrices), y)
    np.testing.assert_array_less(np.abs(gains - wanted), 1e-9 * summed)


def test_closed_forms():
    none = np.zeros(3)
    cases = [
        (np.eye(3), 2.0, np.log([1.0, 8.0, 27.0]), [1, 2, 3]),
        (np.ones((3, 3)), 1.0, none, [3**-0.5] * 3),
        (np.ones((3, 3)), 0.5, none, [3 ** (-2 / 3)] * 3),
    ]
    for cosine in (-0.9, 0.3):
        pair = np.eye(3)
        pair[0, 1] = pair[1, 0] = cosine
        cases.append((pair, 1.0, none, [(1 + cosine) ** -0.5] * 2 + [1]))
    matrices, powers, logs, expected = (np.array(each) for each in zip(*cases, strict=True))
    np.testing.assert_allclose(balance(matrices, powers, logs, size=3), expected, rtol=1e-5)


def test_a_zero_row_is_as_if_it_were_not_there(rng):
    matrix = cosine_matrix(rng, 3, 5)
    with_zero = np.zeros((4, 4))
    keep = [0, 2, 3]
    with_zero[np.ix_(keep, keep)] = matrix
    logs = np.array([0.0, 99.0, 1.0, -1.0])
    y, none = balance(np.stack([with_zero, np.zeros((4, 4))]), 1.5, np.stack([logs, logs]))
    assert y[1] == 0
    (alone,) = balance(matrix[None], 1.5, logs[None, keep], size=3)
    np.testing.assert_allclose(y[keep], alone, rtol=1e-5)
    np.testing.assert_array_equal(none, 0)


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
    y = balance(stack, power, np.zeros((4, 4)), dtype).astype(float)
    assert np.isfinite(y).all() and (y > 0).all()
    squares = np.einsum("ni,nij,nj->n", y, stack, y)
    bounds = (y ** (1 - power)).sum(1)
    noise = 8 * np.finfo(dtype).eps * y.sum(1) ** 2
    assert (squares <= 1.01 * bounds + noise).all()

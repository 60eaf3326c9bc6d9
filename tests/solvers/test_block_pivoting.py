import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from mtljax.solvers.block_pivoting import block_pivoting
from mtljax.solvers.dual_cone import dual_cone
from tests.weighting.jacobians import jacobians

SIZE = 8
solve = jax.jit(block_pivoting)
bound = np.zeros(SIZE, bool)


def unit_columns(rng, rows, columns):
    matrix = rng.normal(size=(rows, columns))
    return matrix / np.linalg.norm(matrix, axis=0)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), common=st.floats(-0.9, 3), free=st.integers(0, 2**SIZE - 1))
def test_equals_nnls_from_any_start(seed, common, free):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(3 * SIZE, SIZE))
    matrix += common * matrix.mean(1, keepdims=True)
    matrix /= np.linalg.norm(matrix, axis=0)
    target = rng.normal(size=3 * SIZE)
    start = (free >> np.arange(SIZE)) % 2 == 1
    with jax.enable_x64(True):
        result = solve(jnp.array(matrix.T @ matrix), jnp.array(-matrix.T @ target), start)
    if result.found:  # from some starts it cycles
        np.testing.assert_allclose(result.x, nnls(matrix, target)[0], atol=1e-9)
    else:
        assert start.any()
        np.testing.assert_array_equal(result.x, 0)


def test_absent_rows_stay_zero(rng):
    matrix = unit_columns(rng, 12, SIZE)
    matrix[:, [2, 5]] = 0
    target = rng.normal(size=12)
    x, found = solve(
        jnp.asarray(matrix.T @ matrix), jnp.asarray(-matrix.T @ target), np.ones(SIZE, bool)
    )
    assert found
    np.testing.assert_allclose(x, nnls(matrix, target)[0], atol=1e-5)


def test_nothing_gains():
    x, found = solve(jnp.eye(SIZE), jnp.arange(SIZE, dtype=float), bound)
    assert found
    np.testing.assert_array_equal(x, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finds_nothing_where_the_equations_are_singular(rng, dtype):
    """Neither the free block nor the size of z may be trusted there."""
    one, low = unit_columns(rng, 12, 1), unit_columns(rng, 3, SIZE)
    matrices = [
        one @ np.ones((1, SIZE)),
        one @ (-1.0) ** np.arange(SIZE)[None],
        one + 1e-5 * unit_columns(rng, 12, SIZE),
    ]
    with jax.enable_x64(dtype == "float64"):
        for matrix in matrices:
            gramian = jnp.asarray(matrix.T @ matrix, dtype)
            result = solve(gramian / gramian[0, 0], -jnp.ones(SIZE, dtype), ~bound)
            # The third is no worse than 1e-10, which float64 resolves.
            assert not result.found or (dtype == "float64" and matrix is matrices[2])
            assert np.isfinite(result.x).all()
        # Without a minimum: it falls along the kernel of the matrix.
        gramian = jnp.asarray(low.T @ low, dtype)
        kernel = np.linalg.svd(low)[2][-1]
        result = solve(gramian, -jnp.asarray(np.abs(kernel), dtype), bound)
        assert np.isfinite(result.x).all() and (result.x >= 0).all()


def test_finite_whatever_the_matrix(rng):
    matrices = rng.normal(size=(200, SIZE, SIZE))
    matrices = matrices + matrices.transpose(0, 2, 1)
    diagonal = np.arange(SIZE)
    matrices[:, diagonal, diagonal] = 1
    starts = rng.random((200, SIZE)) < 0.5
    result = jax.jit(jax.vmap(block_pivoting))(
        jnp.asarray(matrices, jnp.float32), jnp.asarray(rng.normal(size=(200, SIZE))), starts
    )
    assert np.isfinite(result.x).all() and (result.x >= 0).all()
    assert not result.x[~result.found].any()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("tasks", [3, 16])
def test_hard_gradients(tasks, dtype):
    """Projections of unit rows onto their dual cone meet the conditions of a projection.

    Most of them block pivoting finds, and `dual_cone` the others.
    """
    # That of block pivoting alone still has the ridge of `factor_free` in it.
    rough, tolerance = (1e-9, 1e-9) if dtype == "float64" else (2e-3, 1e-4)
    problems = jacobians(tasks)
    norms = np.linalg.norm(problems.rows, axis=2, keepdims=True)
    units = problems.rows / np.where(norms > 0, norms, 1)
    cosines = units @ units.transpose(0, 2, 1)
    with jax.enable_x64(dtype == "float64"):
        given = jnp.asarray(cosines, dtype)
        pivot = jax.vmap(jax.vmap(block_pivoting, (None, 0, None)), (0, 0, None))
        found = jax.jit(pivot)(given, given, np.zeros(tasks, bool))
        whole = jax.vmap(jax.vmap(dual_cone, (None, 0)), (0, None))
        added = np.asarray(jax.jit(whole)(given, jnp.eye(tasks, dtype=dtype)), np.float64)
    assert 0.9 < np.mean(found.found) < 1
    parts = (np.asarray(found.found), found.x, rough), (np.ones_like(found.found), added, tolerance)
    for some, y, within in parts:
        # [N, T, P]: the projection of each of the T rows.
        directions = (np.eye(tasks) + np.asarray(y, np.float64)) @ units
        gains = directions @ units.transpose(0, 2, 1)
        assert np.where(some[..., None], gains, 0).min() >= -within
        slack = np.sum(directions * (directions - units), axis=2)  # complementary: 0
        assert np.abs(np.where(some, slack, 0)).max() <= within

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from mtljax.solvers.nnqp import active_set, nnqp
from tests.weighting.jacobians import jacobians

SIZE = 9
# Jitted once for each dtype, with a start and without: smaller problems get zero rows.
compiled, search = jax.jit(nnqp), jax.jit(active_set)


def padded(array):
    """With zeros, for SIZE rows."""
    return np.pad(array, [(0, SIZE - n) for n in array.shape])


def solve(matrices, vectors, starts=None, dtype="float32"):
    """The minimisers ``[N, SIZE]``."""
    parts = [matrices, vectors] if starts is None else [matrices, vectors, starts]
    with jax.enable_x64(dtype == "float64"):
        found = [
            compiled(*(padded(part.astype(dtype)) for part in each))
            for each in zip(*parts, strict=True)
        ]
        return np.stack(found)


def systems(rng):
    """Least-squares problems |A x - b| of all ranks and scales."""
    for size in (1, 2, 3, 5, 9):
        for kind in range(8):
            matrix = rng.normal(size=(12, size))
            if kind == 1:
                matrix = rng.normal(size=(12, 2)) @ rng.normal(size=(2, size))
            if kind == 2:
                matrix = matrix[:, :1] + 1e-3 * matrix
            if kind == 3:
                matrix *= 10 ** rng.uniform(-6, 6, size)
            if kind == 4:
                matrix[:, size // 2] = 0
            if kind == 5:
                matrix[:, -1] = matrix[:, 0]
            if kind == 6:
                matrix[:, -1] = -matrix[:, 0]
            yield matrix, rng.normal(size=12) + (kind == 7) * 3 * matrix.sum(1)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-8), ("float32", 1e-3)])
def test_equals_nnls(rng, dtype, tolerance):
    problems = [(m, b / np.linalg.norm(b)) for m, b in systems(rng)]
    wide = np.stack([np.pad(m, ((0, 0), (0, SIZE - m.shape[1]))) for m, _ in problems])
    targets = np.stack([b for _, b in problems])
    matrices = wide.transpose(0, 2, 1) @ wide
    vectors = -np.einsum("npm,np->nm", wide, targets)
    found = solve(matrices, vectors, dtype=dtype)
    again = solve(matrices, vectors, rng.uniform(size=found.shape), dtype=dtype)
    for x in (found, again):
        assert x.dtype == dtype and (x >= 0).all()
        assert (x[:, SIZE - 1][wide[:, :, SIZE - 1].any(1) == 0] == 0).all()
        for (matrix, target), row in zip(problems, x, strict=True):
            expected, distance = nnls(matrix, target)
            fit = matrix @ row[: matrix.shape[1]]
            np.testing.assert_allclose(fit, matrix @ expected, atol=tolerance)
            assert np.linalg.norm(fit - target) <= distance + tolerance


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), common=st.floats(-0.9, 3), free=st.integers(0, 2**SIZE - 1))
def test_equals_nnls_from_any_start(seed, common, free):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(3 * SIZE, SIZE))
    matrix += common * matrix.mean(1, keepdims=True)
    target = rng.normal(size=3 * SIZE)
    start = ((free >> np.arange(SIZE)) % 2).astype(float)
    problem = (matrix.T @ matrix, -matrix.T @ target, start)
    (found,) = solve(*(part[None] for part in problem), dtype="float64")
    np.testing.assert_allclose(found, nnls(matrix, target)[0], atol=1e-8)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-3)])
def test_singular_equations(rng, dtype, tolerance):
    """No unique minimiser, or hardly: what it says of the vector is unique all the same."""
    one = rng.normal(size=(12, 1))
    problems = [
        one @ np.ones((1, SIZE)),
        one @ (-1.0) ** np.arange(SIZE)[None],
        one + 1e-5 * rng.normal(size=(12, SIZE)),
        rng.normal(size=(12, 3)) @ rng.normal(size=(3, SIZE)),
    ]
    problems = np.stack(problems) / np.linalg.norm(problems, axis=1, keepdims=True)
    target = rng.normal(size=12)
    target /= np.linalg.norm(target)
    found = solve(problems.transpose(0, 2, 1) @ problems, -target @ problems, dtype=dtype)
    for matrix, x in zip(problems, found, strict=True):
        assert np.linalg.norm(matrix @ x - target) <= nnls(matrix, target)[1] + tolerance


search_rows = jax.jit(jax.vmap(jax.vmap(active_set, (None, 0, None)), (0, 0, None)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("tasks", [3, 16])
def test_hard_gradients(tasks, dtype):
    """Projections of unit rows onto their dual cone meet the conditions of a projection.

    Most are found by block pivoting, the others singly, and none is given up.
    """
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    rows = jacobians(tasks).rows
    norms = np.linalg.norm(rows, axis=2, keepdims=True)
    units = rows / np.where(norms > 0, norms, 1)
    cosines = units @ units.transpose(0, 2, 1)
    given = np.zeros((len(rows), 16, 16), dtype)  # for one program
    given[:, :tasks, :tasks] = cosines
    with jax.enable_x64(dtype == "float64"):
        found = search_rows(given, given, np.zeros(16, dtype))
    turns = np.asarray(found.count)[:, :tasks]
    assert found.done.all()
    assert np.mean(turns <= 12) > 0.9 and (tasks == 3 or turns.max() > 14)
    # [N, T, P]: the projection of each of the T rows.
    directions = (np.eye(tasks) + np.asarray(found.x, np.float64)[:, :tasks, :tasks]) @ units
    assert (directions @ units.transpose(0, 2, 1)).min() >= -tolerance
    slack = np.sum(directions * (directions - units), axis=2)  # complementary: 0
    assert np.abs(slack).max() <= tolerance


def test_edges():
    identity = np.eye(3)
    cases = [
        (identity, [1.0, 2, 3], [0, 0, 0]),
        (identity, [0.0, 0, 0], [0, 0, 0]),
        (identity, [-1.0, 2, -3], [1, 0, 3]),
        (np.zeros((3, 3)), [-1.0, 2, 0], [0, 0, 0]),
        (np.diag([1e-30, 1e30, 1]), [-1e-30, -1e30, 1], [1, 1, 0]),
    ]
    matrices, vectors, expected = (np.array(each) for each in zip(*cases, strict=True))
    np.testing.assert_allclose(solve(matrices, vectors)[:, :3], expected, rtol=1e-6)


def test_finite_whatever_the_matrix(rng):
    matrices = rng.normal(size=(200, SIZE, SIZE))
    matrices = matrices + matrices.transpose(0, 2, 1)
    unit = np.arange(SIZE)
    matrices[100:, unit, unit] = 1
    vectors = rng.normal(size=(200, SIZE))
    # Without a minimum: it falls along the kernel of the matrix.
    low = rng.normal(size=(3, SIZE))
    matrices[0], vectors[0] = low.T @ low, -np.linalg.svd(low)[2][-1]
    starts = rng.uniform(-1, 1, vectors.shape).clip(0)
    for found in (solve(matrices, vectors), solve(matrices, vectors, starts)):
        assert np.isfinite(found).all() and (found >= 0).all()


def test_a_factorisation_that_fails_costs_the_entry_that_was_freed():
    """Three rows at 120 degrees, a little more than rounding apart from what cosines can be."""
    matrix = np.eye(5)
    matrix[:3, :3] -= 0.500005 * (1 - np.eye(3))
    vector = np.array([-1, -0.5, 1.5, -0.1, 1])
    found = search(*(padded(np.float32(part)) for part in (matrix, vector, np.zeros(5))))
    assert found.done
    expected = np.linalg.solve(matrix[:2, :2], -vector[:2])
    np.testing.assert_allclose(found.x[:5], [*expected, 0, 0.1, 0], rtol=1e-4)


def test_absent_rows_with_a_start_for_all(rng):
    matrix = rng.normal(size=(12, SIZE))
    matrix /= np.linalg.norm(matrix, axis=0)
    matrix[:, [2, 5]] = 0
    target = rng.normal(size=12)
    start = np.where(matrix.any(0), 1.0, 0.0)
    problem = (matrix.T @ matrix, -matrix.T @ target, start)
    found = search(*map(np.float32, problem))
    assert found.done
    np.testing.assert_allclose(found.x, nnls(matrix, target)[0], atol=1e-5)

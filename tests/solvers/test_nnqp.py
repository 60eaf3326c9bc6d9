import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import nnls

from mtljax.solvers.nnqp import nnqp

SIZE = 9
# Jitted once for each dtype: smaller problems get zero rows.
solve = jax.jit(jax.vmap(nnqp))


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
    padded = np.stack([np.pad(m, ((0, 0), (0, SIZE - m.shape[1]))) for m, _ in problems])
    targets = np.stack([b for _, b in problems])
    with jax.enable_x64(dtype == "float64"):
        matrices = jnp.asarray(padded.transpose(0, 2, 1) @ padded, dtype)
        vectors = jnp.asarray(-np.einsum("npm,np->nm", padded, targets), dtype)
        found = np.asarray(solve(matrices, vectors))
        again = np.asarray(
            solve(matrices, vectors, jnp.asarray(rng.uniform(size=found.shape), dtype))
        )
    for x in (found, again):
        assert x.dtype == dtype and (x >= 0).all()
        assert (x[:, SIZE - 1][padded[:, :, SIZE - 1].any(1) == 0] == 0).all()
        for (matrix, target), row in zip(problems, x, strict=True):
            expected, distance = nnls(matrix, target)
            fit = matrix @ row[: matrix.shape[1]]
            np.testing.assert_allclose(fit, matrix @ expected, atol=tolerance)
            assert np.linalg.norm(fit - target) <= distance + tolerance


def test_edges():
    identity = np.eye(3)
    cases = [
        (identity, [1.0, 2, 3], [0, 0, 0]),
        (identity, [0.0, 0, 0], [0, 0, 0]),
        (identity, [-1.0, 2, -3], [1, 0, 3]),
        (np.zeros((3, 3)), [-1.0, 2, 0], [0, 0, 0]),
        (np.diag([1e-30, 1e30, 1]), [-1e-30, -1e30, 1], [1, 1, 0]),
    ]
    matrices, vectors, expected = (
        jnp.array(each, jnp.float32) for each in zip(*cases, strict=True)
    )
    np.testing.assert_allclose(solve(matrices, vectors), expected, rtol=1e-6)


def test_finite_whatever_the_matrix(rng):
    matrices = rng.normal(size=(200, 3, 3))
    matrices = matrices + matrices.transpose(0, 2, 1)
    found = solve(
        jnp.asarray(matrices, jnp.float32), jnp.asarray(rng.normal(size=(200, 3)), jnp.float32)
    )
    assert np.isfinite(found).all() and (found >= 0).all()

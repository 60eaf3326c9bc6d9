"""The ridge: as small as rounding, as large as it must be."""

import jax
import numpy as np
import pytest

from mtljax.solvers.ridge import ridged

compiled = jax.jit(ridged)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_semidefinite_cosines_get_rounding_only(rng, dtype):
    rows = rng.normal(size=(20, 5))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with jax.enable_x64(dtype == "float64"):
        matrix = (rows @ rows.T).astype(dtype)
        added = np.asarray(compiled(matrix) - matrix, float)
    np.testing.assert_allclose(added, np.diag(np.diag(added)), atol=0)
    assert 0 < np.diag(added).max() < 100 * 20 * np.finfo(dtype).eps


def test_indefinite_matrices_become_positive_definite():
    for matrix in (2 * np.eye(5) - 1, np.eye(3) + 0.8 * (np.eye(3) - 1), np.zeros((2, 2))):
        assert np.linalg.eigvalsh(np.asarray(compiled(np.float32(matrix)))).min() > 0


def test_a_zero_row_stays_by_itself_and_does_not_count():
    matrix = np.array([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 0]], np.float32)
    padded = np.asarray(compiled(matrix))
    np.testing.assert_array_equal(padded[:2, :2], compiled(matrix[:2, :2]))
    np.testing.assert_allclose(padded[2], [0, 0, 1], atol=1e-5)

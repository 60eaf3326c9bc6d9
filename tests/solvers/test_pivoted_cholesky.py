"""The graded factor and its singular values, against the products and closed forms."""

import jax
import numpy as np
import pytest

from mtljax.solvers.orthogonal_columns import orthogonal_columns
from mtljax.solvers.pivoted_cholesky import pivoted_cholesky


@jax.jit
def both(cosines, norms, cutoff=1e-6):
    factor = pivoted_cholesky(cosines, norms, cutoff)
    return factor, orthogonal_columns(factor)


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_row_has_the_precision_of_its_own_norm(rng, size, dtype):
    rows = rng.normal(size=(size, 12))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    norms = 10 ** rng.uniform(-9, 0, size)
    full = 1 if size == 1 else 8  # zero rows, for one program
    cosines, lengths = np.zeros((full, full), dtype), np.zeros(full, dtype)
    cosines[:size, :size], lengths[:size] = rows @ rows.T, norms
    with jax.enable_x64(dtype == "float64"):
        factor, rotated = (np.asarray(each, float) for each in both(cosines, lengths))
    assert not factor[size:].any() and not rotated[size:].any()
    factor, rotated = (each[:size][:, each.any(0)] for each in (factor, rotated))
    tolerance = 100 * np.finfo(dtype).eps
    for found in (factor, rotated):
        units = found / norms[:, None]
        np.testing.assert_allclose(units @ units.T, rows @ rows.T, atol=tolerance)
    unit_columns = rotated / np.linalg.norm(rotated, axis=0)
    np.testing.assert_allclose(unit_columns.T @ unit_columns, np.eye(size), atol=tolerance)


def test_dependent_rows_get_no_column(rng):
    rows = rng.normal(size=(6, 2)) @ rng.normal(size=(2, 9))
    rows[3] = 0
    norms = np.linalg.norm(rows, axis=1)
    units = rows / np.where(norms > 0, norms, 1)[:, None]
    factor = np.asarray(jax.jit(pivoted_cholesky)(units @ units.T, norms, 1e-5))
    assert (np.abs(factor).max(0) > 0).tolist() == [True, True, False, False, False, False]
    np.testing.assert_allclose(factor @ factor.T, rows @ rows.T, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (4, 1), (2, 2), (5, 5), (9, 4), (4, 9)])
def test_lengths_of_the_columns_are_the_singular_values(rng, shape):
    matrix = rng.normal(size=shape)
    founds = [jax.jit(orthogonal_columns)(matrix)]
    if shape == (9, 4):
        founds += list(jax.jit(jax.vmap(orthogonal_columns))(np.stack([matrix, -matrix])))
    for found in founds:
        assert found.shape == shape
        values = np.sort(np.linalg.norm(np.asarray(found), axis=0))[::-1][: min(shape)]
        np.testing.assert_allclose(values, np.linalg.svd(matrix, compute_uv=False), rtol=1e-4)

"""The graded factor and its singular values, against the products and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.solvers.orthogonal_columns import orthogonal_columns
from mtljax.solvers.pivoted_cholesky import pivoted_cholesky


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_row_has_the_precision_of_its_own_norm(rng, size, dtype):
    rows = rng.normal(size=(size, 12))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    norms = 10 ** rng.uniform(-9, 0, size)
    with jax.enable_x64(dtype == "float64"):
        arguments = jnp.asarray(rows @ rows.T, dtype), jnp.asarray(norms, dtype)
        factor = pivoted_cholesky(*arguments, 1e-6)
        rotated = orthogonal_columns(factor)
    tolerance = 100 * np.finfo(dtype).eps
    for found in (factor, rotated):
        units = np.asarray(found, float) / norms[:, None]
        np.testing.assert_allclose(units @ units.T, rows @ rows.T, atol=tolerance)
    lengths = np.linalg.norm(np.asarray(rotated, float), axis=0)
    unit_columns = np.asarray(rotated, float) / lengths
    np.testing.assert_allclose(unit_columns.T @ unit_columns, np.eye(size), atol=tolerance)


def test_dependent_rows_get_no_column(rng):
    rows = rng.normal(size=(6, 2)) @ rng.normal(size=(2, 9))
    rows[3] = 0
    norms = np.linalg.norm(rows, axis=1)
    units = rows / np.where(norms > 0, norms, 1)[:, None]
    factor = np.asarray(pivoted_cholesky(jnp.asarray(units @ units.T), jnp.asarray(norms), 1e-5))
    assert (np.abs(factor).max(0) > 0).tolist() == [True, True, False, False, False, False]
    np.testing.assert_allclose(factor @ factor.T, rows @ rows.T, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (4, 1), (2, 2), (5, 5), (9, 4), (4, 9)])
def test_lengths_of_the_columns_are_the_singular_values(rng, shape):
    matrix = rng.normal(size=shape)
    for found in (
        orthogonal_columns(jnp.asarray(matrix)),
        jax.vmap(orthogonal_columns)(jnp.asarray(matrix)[None])[0],
    ):
        assert found.shape == shape
        values = np.sort(np.linalg.norm(np.asarray(found), axis=0))[::-1][: min(shape)]
        np.testing.assert_allclose(values, np.linalg.svd(matrix, compute_uv=False), rtol=1e-4)

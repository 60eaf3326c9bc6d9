"""The numerical rank and the part above it."""

import jax
import numpy as np
import pytest

from mtljax.solvers.spectrum import spectrum

compiled = jax.jit(spectrum)


@pytest.mark.parametrize("rank", [0, 1, 3, 6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rank_and_pseudo_inverse(rng, rank, dtype):
    rows = rng.normal(size=(6, rank)) @ np.linalg.qr(rng.normal(size=(9, rank)))[0].T
    matrix = rows @ rows.T
    with jax.enable_x64(dtype == "float64"):
        found = compiled(matrix.astype(dtype), 6 * np.finfo(dtype).eps)
        values, vectors = np.asarray(found.values), np.asarray(found.vectors)
    assert int(found.rank) == rank
    inverse = vectors / values @ vectors.T
    expected = np.linalg.pinv(matrix, rcond=1e-12)
    np.testing.assert_allclose(
        inverse, expected, atol=1e5 * np.finfo(dtype).eps * np.abs(expected).max()
    )


def test_noise_below_zero_counts_as_noise_above():
    values = np.diag([-0.01, 0.015, 0.5, 2.0])
    found = compiled(values, 1e-6)
    assert found.rank == 2 and found.cutoff == pytest.approx(0.02)
    np.testing.assert_array_equal(np.asarray(found.values)[:2], 1)
    np.testing.assert_array_equal(np.asarray(found.vectors)[:, :2], 0)

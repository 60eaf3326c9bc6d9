"""Attention to a prefix against loops in NumPy."""

import itertools

import jax
import numpy as np
import pytest

from mtljax.sharing import prefix_attention


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prefix_attention(dtype):
    rng = np.random.default_rng(0)
    shapes = (2, 3, 2, 4), (5, 2, 4), (5, 2, 4)
    query, keys, values = (rng.normal(size=shape).astype(dtype) for shape in shapes)
    run = jax.jit(prefix_attention)
    with jax.enable_x64(dtype == np.float64):
        found = np.asarray(run(query, keys, values))
        assert found.dtype == dtype and not np.any(run(query, keys, 0 * values))
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    for row, position, head in itertools.product(range(2), range(3), range(2)):
        scores = np.exp([query[row, position, head] @ keys[p, head] / 2 for p in range(5)])
        expected = sum(scores[p] / scores.sum() * values[p, head] for p in range(5))
        np.testing.assert_allclose(found[row, position, head], expected, rtol, rtol)

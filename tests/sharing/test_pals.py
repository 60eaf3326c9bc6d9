"""Projected attention against loops in NumPy."""

import itertools

import jax
import numpy as np
import pytest

from mtljax.sharing import projected_attention


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_projected_attention(dtype):
    rng = np.random.default_rng(0)
    shapes = (2, 4, 5), (5, 6), (6, 3, 2, 3), (6, 5)
    x, down, qkv, up = (rng.normal(size=shape).astype(dtype) for shape in shapes)
    segments = np.array([[1, 1, 2, 2], [1, 1, 1, 1]])
    mask = (segments[:, :, None] == segments[:, None, :])[:, None]
    with jax.enable_x64(dtype == np.float64):
        found = np.asarray(jax.jit(projected_attention)(x, down, qkv, up, mask))
        assert found.dtype == dtype
    # The softmax of `jax.nn.dot_product_attention` is in float32 whatever comes in.
    low, rtol = x @ down, 1e-4 if dtype == np.float32 else 1e-5
    for row, position in itertools.product(range(2), range(4)):
        heads = []
        for head in range(2):
            query, key, value = (low[row] @ qkv[:, part, head] for part in range(3))
            seen = [c for c in range(4) if segments[row, c] == segments[row, position]]
            scores = np.exp([query[position] @ key[c] / np.sqrt(3) for c in seen])
            shares = scores / scores.sum()
            heads.append(sum(share * value[c] for share, c in zip(shares, seen, strict=True)))
        expected = np.concatenate(heads) @ up
        np.testing.assert_allclose(found[row, position], expected, rtol, rtol)

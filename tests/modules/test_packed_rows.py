import jax
import jax.numpy as jnp
import numpy as np

from mtljax.modules.packed_rows import source_part

MARK = 3


def test_a_source_ends_before_its_mark(rng, segments, positions):
    tokens = rng.integers(0, 8, segments.shape)
    expected = np.zeros(segments.shape, bool)
    for row, column in np.argwhere(segments > 0):
        first = column - positions[row, column]
        expected[row, column] = MARK not in tokens[row, first : column + 1]
    assert 0 < expected.sum() < (segments > 0).sum()
    found = jax.jit(source_part)(*map(jnp.asarray, (tokens, segments, positions)))
    np.testing.assert_array_equal(found, expected)

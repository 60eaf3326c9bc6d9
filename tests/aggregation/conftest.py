import jax
import numpy as np
import pytest

SHAPES = {"kernel": (3, 3), "bias": ()}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def params():
    return {name: np.ones(shape, np.float32) for name, shape in SHAPES.items()}


@pytest.fixture
def tree():
    """From rows ``[T, 10]`` to a tree of task gradients, in the order of its leaves."""

    def make(rows, dtype=None):
        rows = np.asarray(rows)
        leaves, start = {}, 0
        for name in sorted(SHAPES):
            size = int(np.prod(SHAPES[name]))
            part = rows[:, start : start + size].reshape(len(rows), *SHAPES[name])
            leaves[name] = part.astype(jax.dtypes.canonicalize_dtype(dtype or rows.dtype))
            start += size
        return leaves

    return make


@pytest.fixture
def flat():
    """From a tree of leaves ``[*param]`` to a vector, float64."""

    def ravel(direction):
        leaves = [np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(direction)]
        return np.concatenate(leaves)

    return ravel

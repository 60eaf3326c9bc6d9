import jax
import numpy as np
import pytest

from mtljax import linear
from mtljax.linear.norms import NORMS
from tests.linear.problems import GROUPS, OPPOSED, planted


@pytest.mark.parametrize("seed", range(10))
def test_a_planted_relation_is_recovered(seed):
    """Three groups of tasks, and one that wants the opposite of the first group."""
    features, targets, task = planted(seed)
    related = _fit(features, targets, task, 0.1, 2.0)
    found = np.asarray(related.correlation)
    expected = np.equal.outer(GROUPS, GROUPS).astype(float)
    same = expected.astype(bool)
    others = found[:OPPOSED, :OPPOSED]
    assert others[same].min() > 0.7 > 0.6 > np.abs(others[~same]).max()
    assert found[OPPOSED, :3].max() < -0.7 and np.abs(found[OPPOSED, 3:OPPOSED]).max() < 0.6
    np.testing.assert_allclose(np.trace(related.covariance), 1, rtol=1e-5)


_fit = jax.jit(
    lambda features, targets, task, ridge, strength: linear.fit_relation(
        features.astype("float32"), targets, task, num_tasks=8, ridge=ridge, strength=strength
    )
)


def test_the_covariance_is_the_best_one():
    """No other of trace 1 gives a smaller penalty: the bound of Zhang and Yeung's equation 12."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 9))
    with jax.enable_x64(True):
        best = np.asarray(linear.best_covariance(weights))
    trace_norm = np.linalg.svd(weights, compute_uv=False).sum()
    assert np.trace(weights.T @ np.linalg.inv(best) @ weights) == pytest.approx(trace_norm**2)
    for _ in range(20):
        other = rng.normal(size=(4, 6))
        other = other @ other.T
        other /= np.trace(other)
        assert np.trace(weights.T @ np.linalg.inv(other) @ weights) >= trace_norm**2


def test_nothing_to_learn():
    features, targets, task = planted(0)
    related = _fit(np.ones_like(features), np.arange(len(targets)) % 2 > 0, task, 1.0, 1e3)
    assert not np.isnan(related.correlation).any() and int(related.rank) == 0


def test_a_singular_covariance_is_reported():
    weights = np.outer([1.0, 2.0, -1.0], np.arange(4.0)).astype("float32")
    related = linear.Related(
        linear.Solution(weights, *np.zeros(4, "float32")), linear.best_covariance(weights)
    )
    assert int(related.rank) == 1
    np.testing.assert_allclose(
        related.correlation, [[1, 1, -1], [1, 1, -1], [-1, -1, 1]], atol=1e-5
    )


def test_no_array_has_the_square_of_the_features():
    """The singular values of a few tasks' weights need no more than a few such arrays."""
    shape = jax.ShapeDtypeStruct((3, 2000), np.float32)
    for name in ("trace", "squared_trace"):
        norm = NORMS[name]
        for function in (norm.value, norm.proximal):
            program = jax.jit(function).lower(shape, np.float32(1)).compile()
            memory = program.memory_analysis()
            assert memory is not None and memory.temp_size_in_bytes < 10 * 4 * 3 * 2000

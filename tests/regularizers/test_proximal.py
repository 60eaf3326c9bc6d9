import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial

from mtljax import regularizers

CASES = [
    (regularizers.l1, regularizers.soft_threshold),
    (regularizers.group_lasso, regularizers.shrink_groups),
    (regularizers.trace_norm, regularizers.shrink_singular_values),
]


@pytest.mark.parametrize("penalty, proximal", CASES)
def test_no_other_point_is_better(penalty, proximal, rng):
    """Strongly convex with modulus 1: other points are worse by half their squared distance."""
    size = 0.7
    with jax.enable_x64(True):
        leaf = rng.normal(size=(4, 3)) * [[1.0], [1.0], [0.1], [2.0]]
        best = np.asarray(jax.jit(proximal)(leaf, size))
        others = [best + scale * rng.normal(size=leaf.shape) for scale in (1e-3, 0.1, 1.0) * 4]
        others += [leaf, np.zeros_like(leaf), 0.9 * best]
        points, of_penalty = np.stack([best, *others]), jax.jit(penalty)

        def objective(v):
            return size * float(of_penalty(v)) + np.sum((v - leaf) ** 2) / 2

        least, *values = [objective(point) for point in points]
        distances = np.sum((points[1:] - best) ** 2, axis=(1, 2))
        assert np.all(np.array(values) >= least + distances / 2 - 1e-12)
        # Some of it is exactly 0: entries, rows, or a rank.
        singular = np.linalg.svd(best, compute_uv=False)
        assert (best == 0).any() or (singular < 1e-12).any()
    low = jax.ShapeDtypeStruct((3, 3), jnp.bfloat16)
    assert jax.eval_shape(proximal, low, 0.1).dtype == jnp.bfloat16


def test_l1_and_trace_norm_equal_numpy(rng):
    leaf = rng.normal(size=(2, 4, 3)).astype(np.float32)
    assert jax.jit(regularizers.l1)({"a": leaf, "b": leaf}) == pytest.approx(2 * np.abs(leaf).sum())
    singular = np.linalg.svd(leaf, compute_uv=False)
    assert jax.jit(regularizers.trace_norm)([leaf]) == pytest.approx(singular.sum(), rel=1e-5)
    np.testing.assert_array_equal(jax.jit(jax.grad(regularizers.l1))(np.float32([2, 0])), [1, 0])
    wide = jax.jit(regularizers.trace_norm).lower(jax.ShapeDtypeStruct((3, 2000), np.float32))
    memory = wide.compile().memory_analysis()
    assert memory is not None and memory.temp_size_in_bytes < 10 * 4 * 3 * 2000
    with pytest.raises(ValueError, match="'bias' of shape"):
        regularizers.trace_norm({"bias": np.ones(3)})


def test_distances_equal_numpy(rng):
    tasks = {name: {"w": rng.normal(size=(2, 3)), "b": rng.normal(size=4)} for name in "abc"}
    flat = np.stack([np.concatenate([task["w"].ravel(), task["b"]]) for task in tasks.values()])
    adjacency = rng.uniform(size=(3, 3))
    adjacency += adjacency.T
    pairs = scipy.spatial.distance.cdist(flat, flat, "sqeuclidean")
    expected = sum(adjacency[i, j] * pairs[i, j] / 2 for i in range(3) for j in range(i))
    laplacian = jax.jit(regularizers.laplacian)
    assert laplacian(tasks, adjacency) == pytest.approx(expected, rel=1e-5)
    mean = np.square(flat - flat.mean(0)).sum() / 2
    mean_distance = jax.jit(regularizers.mean_distance)
    assert mean_distance(list(tasks.values())) == pytest.approx(mean, rel=1e-5)
    third = np.full((3, 3), 1 / 3)
    assert laplacian(tasks, third) == pytest.approx(mean, rel=1e-5)
    assert regularizers.mean_distance({}) == 0
    with pytest.raises(ValueError, match="other shapes"):
        regularizers.mean_distance([np.ones(2), np.ones(3)])
    with pytest.raises(ValueError, match=r"must be \[3, 3\]"):
        regularizers.laplacian(tasks, np.ones((2, 2)))


def test_orthogonality_equals_numpy(rng):
    shared, private = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    expected = np.linalg.norm(shared.T @ private) ** 2
    assert regularizers.orthogonality(shared, private) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="B, D"):
        regularizers.orthogonality(shared, private[:4])

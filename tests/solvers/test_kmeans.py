from itertools import product

import jax
import numpy as np
import pytest

from mtljax.solvers.kmeans import kmeans


def cost(values, labels):
    groups = [values[labels == label] for label in np.unique(labels)]
    return sum(np.sum((group - group.mean()) ** 2) for group in groups)


@pytest.mark.parametrize("num_groups", [1, 2, 3, 4])
def test_is_the_best_of_all_groupings(rng, num_groups):
    problems = rng.normal(size=(8, 6))
    problems[2:4] = np.round(problems[2:4])
    problems[4:] *= 10 ** rng.uniform(-4, 4, (4, 1))
    problems[6:] += np.array([[1e4], [1e6]]) * np.abs(problems[6:]).max()
    present = rng.uniform(size=problems.shape) < 0.8
    present[:, 0] = True
    present[0] = True
    with jax.enable_x64(True):
        solve = jax.jit(jax.vmap(lambda v, p: kmeans(v, num_groups, p)))
        found = np.asarray(solve(problems, present))
    assert found.dtype == np.int32 and (found >= 0).all() and (found < num_groups).all()
    assert (found[~present] == 0).all()
    for values, here, labels in zip(problems, present, found, strict=True):
        values, labels = values[here], labels[here]
        assert (np.diff(labels[np.argsort(values)]) >= 0).all()
        every = product(range(num_groups), repeat=values.size)
        best = min(cost(values, np.array(each)) for each in every)
        assert cost(values, labels) <= best + 1e-12 * np.ptp(values) ** 2


solve = jax.jit(kmeans, static_argnums=1)


def test_close_numbers_beside_a_far_one():
    """Sums of squares would lose the small group; float32."""
    values = np.float32([0.0, 1e-3, 1.0, 1.001, 1e6, 5e7])
    np.testing.assert_array_equal(solve(values, 4), [0, 0, 1, 1, 2, 3])


def test_edges():
    np.testing.assert_array_equal(solve(np.float32([2.0, 1.0, 3.0]), 3), [1, 0, 2])
    np.testing.assert_array_equal(solve(np.float32([2.0, 1.0, 3.0]), 9), [1, 0, 2])
    np.testing.assert_array_equal(solve(np.float32([-3e38, 3e38, 2.9e38]), 2), [0, 1, 1])
    np.testing.assert_array_equal(solve(np.float32([4.0]), 2), [0])
    assert solve(np.ones(64, np.float32), 5).shape == (64,)
    with pytest.raises(ValueError, match="num_groups"):
        kmeans(np.ones(3), 0)

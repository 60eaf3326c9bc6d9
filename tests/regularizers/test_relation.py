"""A relation of tasks that is learned with their parameters."""

import jax
import numpy as np
import pytest
import scipy.linalg

from mtljax.regularizers import learned_relation, task_covariance


@pytest.fixture
def trees(rng):
    """The parameters of three tasks, and the same as rows ``[3, 8]``."""
    weights = rng.normal(size=(3, 8))
    return [{"out": {"kernel": w[:6].reshape(3, 2), "bias": w[6:]}} for w in weights], weights


@pytest.mark.parametrize("x64", [False, True])
def test_it_is_half_the_squared_sum_of_singular_values(trees, x64):
    trees, weights = trees
    with jax.enable_x64(x64):
        expected = np.linalg.svd(weights, compute_uv=False).sum() ** 2 / 2
        np.testing.assert_allclose(jax.jit(learned_relation)(trees), expected, rtol=1e-5)
        if not x64:
            np.testing.assert_allclose(learned_relation(trees), expected, rtol=1e-5)


value_and_slopes = jax.jit(jax.value_and_grad(learned_relation))


def test_its_gradient_is_that_of_the_quadratic_form_at_the_best_covariance(trees):
    """``Sigma^-1 W``, of a covariance that SciPy computes."""
    trees, weights = trees
    root = scipy.linalg.sqrtm(weights @ weights.T)
    sigma = root / np.trace(root)
    np.testing.assert_allclose(jax.jit(task_covariance)(trees), sigma, rtol=1e-4, atol=1e-5)
    _, slopes = value_and_slopes(jax.tree.map(np.float32, trees))
    found = np.stack([np.concatenate([np.ravel(t["out"]["kernel"]), t["out"]["bias"]])
                      for t in slopes])  # fmt: skip
    np.testing.assert_allclose(found, np.linalg.solve(sigma, weights), rtol=2e-4, atol=1e-3)


def test_tasks_that_are_alike_and_tasks_without_parameters_have_finite_gradients(rng):
    one, zero = rng.normal(size=5).astype(np.float32), np.zeros(5, np.float32)
    value, slopes = value_and_slopes([one, one, one])
    # Of rank one: the one singular value is the norm of all, up to the root of what is added.
    assert value == pytest.approx(3 * np.sum(one**2) / 2, rel=0.01)
    np.testing.assert_allclose(slopes[0], one, rtol=0.01)
    value, slopes = value_and_slopes([zero, zero, zero])
    assert value == pytest.approx(0, abs=1e-12)
    assert not np.any(slopes)
    assert learned_relation([]) == 0
    assert not np.any(jax.jit(task_covariance)([zero, zero]))


def test_opposed_tasks_have_a_negative_covariance(rng):
    one, other = rng.normal(size=(2, 400))
    covariance = np.asarray(jax.jit(task_covariance)([one, -one, other]))
    scale = np.sqrt(np.diagonal(covariance))
    correlation = covariance / np.outer(scale, scale)
    assert correlation[0, 1] < -0.99
    assert abs(correlation[0, 2]) < 0.2


def test_trees_that_differ_are_refused():
    with pytest.raises(ValueError, match="other shapes"):
        learned_relation([np.zeros(2), np.zeros(3)])

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mtljax import losses

sampled = jax.jit(losses.sampled_softmax)


def softmax(logits, targets):
    """In NumPy."""
    return -special.log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(targets)), targets]


@pytest.fixture
def problem(rng):
    features = rng.normal(size=(6, 4)).astype(np.float32)
    table = rng.normal(size=(5, 4)).astype(np.float32)
    bias = rng.normal(size=5).astype(np.float32)
    return features, table, bias, rng.integers(5, size=6)


def test_all_other_classes_once_is_the_softmax(problem):
    features, table, bias, targets = problem
    negatives, log_q = np.arange(5), np.full(5, -np.log(5), np.float32)
    np.testing.assert_allclose(
        sampled(features, table, bias, targets, negatives, log_q),
        softmax(features @ table.T + bias, targets),
        rtol=1e-5,
        atol=1e-6,
    )


def test_normalisation_is_unbiased_over_all_samples(problem):
    """The mean of exp(L) over every possible sample, by its probability, is exp of softmax."""
    features, table, bias, targets = problem
    q = np.array([0.4, 0.1, 0.2, 0.25, 0.05], np.float32)
    total = np.zeros(6)
    for sample in itertools.product(range(5), repeat=3):
        negatives = np.array(sample)
        loss = sampled(features, table, bias, targets, negatives, np.log(q)[negatives])
        total += np.prod(q.astype(np.float64)[negatives]) * np.exp(np.float64(loss))
    expected = np.exp(softmax(features @ table.T + bias, targets))
    np.testing.assert_allclose(total, expected, rtol=1e-4)


def test_tends_to_the_softmax_with_its_gradient(rng):
    features, table = (rng.normal(size=(n, 6)).astype(np.float32) for n in (8, 40))
    targets = rng.integers(40, size=8)
    proposal = losses.log_uniform_proposal(40)
    sample = losses.draw_negatives(jax.random.key(0), proposal, 1 << 15)

    def estimate(table):
        return losses.sampled_softmax(features, table, None, targets, *sample).mean()

    value, slope = jax.jit(jax.value_and_grad(estimate))(table)
    logits = features @ table.T
    np.testing.assert_allclose(value, softmax(logits, targets).mean(), rtol=1e-3)
    expected_slope = (special.softmax(logits, axis=1) - np.eye(40)[targets]).T @ features / 8
    np.testing.assert_allclose(slope, expected_slope, atol=2e-3)


@jax.jit
@jax.value_and_grad
def of_hits(features, scale):
    table, hits = scale * jnp.ones((3, 2)), np.array([1, 1])
    return losses.sampled_softmax(features, table, None, hits[:1], hits, np.zeros(2)).sum()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_only_hits_give_zero_and_a_zero_gradient(scale):
    for sign in (1, -1):
        value, slope = of_hits(sign * np.ones((1, 2), np.float32), scale)
        assert value == 0
        np.testing.assert_array_equal(slope, 0)


def test_low_precision_and_targets_out_of_range(problem):
    features, table, bias, targets = problem
    targets = np.where(np.arange(6) == 2, -1, targets)
    low = [x.astype(jnp.bfloat16) for x in (features, table, bias)]
    negatives, log_q = np.array([0, 3]), np.log(np.float32([0.5, 0.5]))
    result = sampled(*low, targets, negatives, log_q)
    exact = sampled(*(x.astype(np.float32) for x in low), targets, negatives, log_q)
    assert result.dtype == jnp.float32
    np.testing.assert_array_equal(np.isnan(result), np.arange(6) == 2)
    np.testing.assert_allclose(result, exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "error", "names"),
    [
        ({"features": np.ones((6, 4), int)}, TypeError, "features"),
        ({"features": np.ones((6, 2, 2))}, ValueError, "features"),
        ({"table": np.ones((5, 3))}, ValueError, "table"),
        ({"bias": np.ones(4)}, ValueError, "bias"),
        ({"targets": np.ones(6)}, TypeError, "targets"),
        ({"targets": np.ones(5, int)}, ValueError, "targets"),
        ({"negatives": np.ones(2)}, TypeError, "negatives"),
        ({"negatives": np.ones((2, 1), int)}, ValueError, "negatives"),
        ({"log_q": np.ones(5)}, ValueError, "log_q"),
    ],
)
def test_wrong_arguments_are_named(problem, changes, error, names):
    arguments = dict(zip(("features", "table", "bias", "targets"), problem, strict=True))
    arguments |= {"negatives": np.array([0, 3]), "log_q": np.zeros(2)} | changes
    with pytest.raises(error, match=names):
        losses.sampled_softmax(**arguments)

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mtljax import losses

PROPOSALS = {
    "log_uniform": losses.log_uniform_proposal(50),
    "unigram": losses.unigram_proposal(np.arange(50)[::-1] ** 2),
    "uniform": losses.unigram_proposal(np.ones(50), power=0.0),
}
draw = jax.jit(losses.draw_negatives, static_argnums=2)
every_proposal = pytest.mark.parametrize("name", PROPOSALS)


@every_proposal
def test_log_q_is_a_distribution_and_agrees_with_the_edges(name):
    proposal = PROPOSALS[name]
    np.testing.assert_allclose(np.exp(np.float64(proposal.log_q)).sum(), 1, rtol=1e-6)
    edges = np.concatenate([[0], np.int64(proposal.edges), [2**32]])
    np.testing.assert_allclose(np.exp(proposal.log_q), np.diff(edges) / 2**32, rtol=1e-5)


def test_log_uniform_formula():
    expected = np.log1p(1 / np.arange(1, 51)) / np.log(51)
    np.testing.assert_allclose(np.exp(PROPOSALS["log_uniform"].log_q), expected, rtol=1e-5)


def test_unigram_formula():
    counts = np.maximum(np.arange(50.0)[::-1] ** 2, 1) ** 0.75
    np.testing.assert_allclose(np.exp(PROPOSALS["unigram"].log_q), counts / counts.sum(), rtol=1e-5)


def test_rare_classes_of_a_large_vocabulary_keep_a_probability():
    counts = np.array([10**12] + [0] * 100_000)
    proposal = losses.unigram_proposal(counts, power=1.0)
    assert np.isfinite(proposal.log_q).all()
    assert (np.diff(np.int64(proposal.edges)) > 0).all()


@functools.partial(jax.jit, static_argnums=2)
def many(key, proposal, samples):
    keys = jax.random.split(key, 20_000 // samples)
    return jax.vmap(lambda key: losses.draw_negatives(key, proposal, samples))(keys)


@every_proposal
@pytest.mark.parametrize("samples", [1, 7, 64])
def test_draws_have_the_distribution(name, samples):
    proposal = PROPOSALS[name]
    classes, log_q = many(jax.random.key(1), proposal, samples)
    assert classes.dtype == jnp.int32 and log_q.dtype == jnp.float32
    np.testing.assert_array_equal(log_q, np.asarray(proposal.log_q)[classes])
    counts = np.bincount(np.ravel(classes), minlength=50)
    expected = np.exp(np.float64(proposal.log_q))
    # Stratified counts spread less than independent ones: the test is on the safe side.
    result = stats.chisquare(counts, expected / expected.sum() * counts.sum())
    assert result.pvalue > 1e-3


@every_proposal
def test_counts_are_stratified(name):
    proposal = PROPOSALS[name]
    for seed in range(5):
        classes, _ = draw(jax.random.key(seed), proposal, 256)
        counts = np.bincount(classes, minlength=50)
        assert (abs(counts - 256 * np.exp(proposal.log_q)) <= 2 + 1e-3).all()


def test_one_class_and_jit_agree_with_eager():
    classes, log_q = draw(jax.random.key(0), losses.log_uniform_proposal(1), 3)
    np.testing.assert_array_equal(classes, 0)
    np.testing.assert_array_equal(log_q, 0)
    eager = losses.draw_negatives(jax.random.key(0), PROPOSALS["unigram"], 16)
    jitted = draw(jax.random.key(0), PROPOSALS["unigram"], 16)
    np.testing.assert_array_equal(eager[0], jitted[0])


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: losses.log_uniform_proposal(0), "num_classes"),
        (lambda: losses.unigram_proposal([]), "counts"),
        (lambda: losses.unigram_proposal([[1]]), "counts"),
        (lambda: losses.unigram_proposal([1, -1]), "counts"),
        (lambda: losses.unigram_proposal([1, np.nan]), "counts"),
        (lambda: losses.unigram_proposal([1], power=np.inf), "power"),
        (
            lambda: losses.draw_negatives(jax.random.key(0), PROPOSALS["uniform"], 0),
            "num_samples",
        ),
    ],
)
def test_wrong_arguments_are_named(call, names):
    with pytest.raises(ValueError, match=names):
        call()

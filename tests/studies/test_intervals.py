"""Intervals and tests against closed forms, scipy and exact distributions."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from mtljax.metrics import F1, Mean
from mtljax.studies import difference, interval


def shares(values):
    """The states of an accuracy on texts with one target each."""
    values = np.asarray(values, float)
    return Mean(values, np.ones_like(values))


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    found = interval([shares(values)], draws=4000)
    np.testing.assert_allclose(found.value, values.mean(), rtol=1e-6)
    half = norm.ppf(0.975) * values.std() / 20
    # Percentiles of 4,000 draws are themselves uncertain by some hundredths of the width.
    np.testing.assert_allclose(
        [found.low, found.high], values.mean() + np.array([-half, half]), atol=half / 8
    )


def test_intervals_cover_the_truth_as_often_as_they_say():
    generator = np.random.default_rng(1)
    covered = 0
    for number in range(200):
        found = interval([shares(generator.random(150) < 0.7)], draws=400, seed=number)
        covered += found.low <= 0.7 <= found.high
    # 190 in expectation; by a binomial distribution, at least 180 in 99.8 % of cases.
    assert covered >= 180


def test_texts_with_several_targets_count_by_these():
    """The F1 of a sample is that of summed counts, not a mean over texts."""
    counts = np.random.default_rng(2).integers(0, 4, (3, 50)).astype(float)
    states = F1(counts.min(0), counts[1], counts[2])
    found = interval([states], draws=300)
    expected = 2 * states.true_positives.sum() / (states.predicted.sum() + states.actual.sum())
    np.testing.assert_allclose(found.value, expected, rtol=1e-6)
    assert found.low < expected < found.high


def test_paired_differences_are_surer_than_unpaired_ones():
    generator = np.random.default_rng(3)
    hard = generator.normal(0, 3, 300)
    first, second = shares(hard), shares(hard + 0.2 + generator.normal(0, 0.3, 300))
    found = difference([first], [second])
    assert found.low > 0.1
    assert found.high < 0.3
    assert found.p < 0.001
    alone = interval([first])
    assert alone.high - alone.low > 0.5


def test_p_is_that_of_the_exact_sign_test():
    """Of right and wrong answers, exchanging texts is McNemar's test on those that differ."""
    better, worse = 24, 11
    first = np.concatenate([np.zeros(better), np.ones(worse), np.ones(100), np.zeros(30)])
    second = np.concatenate([np.ones(better), np.zeros(worse), np.ones(100), np.zeros(30)])
    found = difference([shares(first)], [shares(second)], draws=20_000)
    expected = binomtest(better, better + worse).pvalue
    np.testing.assert_allclose(found.p, expected, atol=0.006)
    np.testing.assert_allclose(found.value, (better - worse) / 165, rtol=1e-6)
    swapped = difference([shares(second)], [shares(first)], draws=20_000)
    np.testing.assert_allclose(swapped.value, -found.value)


def test_equal_models_are_not_told_apart():
    values = shares(np.random.default_rng(4).random(80) < 0.5)
    assert difference([values], [values]) == (0.0, 0.0, 0.0, 1.0)


def test_seeds_that_differ_widen_the_interval():
    generator = np.random.default_rng(5)
    texts = generator.normal(0, 0.1, 200)
    same = [shares(texts), shares(texts), shares(texts)]
    apart = [shares(texts - 1), shares(texts), shares(texts + 1)]
    narrow, wide = interval(same), interval(apart)
    np.testing.assert_allclose(narrow.value, wide.value, atol=1e-6)
    assert wide.high - wide.low > 10 * (narrow.high - narrow.low)
    paired = difference(apart, [shares(one.total + 0.5) for one in apart])
    np.testing.assert_allclose(paired[:3], 0.5, atol=1e-5)


def test_differences_are_of_the_same_texts_and_seeds():
    with pytest.raises(ValueError, match="same seeds and texts"):
        difference([shares(np.ones(3))], [shares(np.ones(4))])
    with pytest.raises(ValueError, match="same seeds and texts"):
        difference([shares(np.ones(3))], [shares(np.ones(3))] * 2)

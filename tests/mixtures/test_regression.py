"""Rates that a regression proposes, on losses whose best mixture is known."""

import numpy as np
import pytest

from mtljax.mixtures import drawn_rates, propose_rates

BEST = np.array([0.6, 0.3, 0.1])


def losses_of(rates, noise=0.0):
    random = np.random.default_rng(1)
    return 1 + ((rates - BEST) ** 2).sum(1) + noise * random.normal(size=len(rates))


def test_rates_are_drawn_around_the_first():
    prior = np.array([0.5, 0.3, 0.2])
    rates = drawn_rates(4000, prior, least=0.03)
    np.testing.assert_allclose(rates[0], 0.97 * prior + 0.01, rtol=1e-12)
    np.testing.assert_allclose(rates.sum(1), 1, rtol=1e-12)
    assert rates.min() >= 0.01 - 1e-12
    np.testing.assert_allclose(rates.mean(0), rates[0], atol=0.015)
    np.testing.assert_array_equal(drawn_rates(10, prior, least=0.03), rates[:10])


def test_the_best_mixture_of_a_quadratic_is_found():
    rates = drawn_rates(40, np.ones(3), seed=3)
    found = propose_rates(rates, losses_of(rates))
    np.testing.assert_allclose(found.rates, BEST, atol=0.03)
    assert found.correlation > 0.99 and found.loss == pytest.approx(1, abs=5e-3)
    assert found.best_run == losses_of(rates).argmin()
    assert losses_of(found.rates[None])[0] < losses_of(rates).min() + 1e-3


def test_with_noise_it_is_better_than_the_best_run():
    regrets = []
    for seed in range(10):
        rates = drawn_rates(32, np.ones(3), seed=seed)
        found = propose_rates(rates, losses_of(rates, 0.05), seed=seed)
        one, other = losses_of(np.stack([found.rates, rates[found.best_run]])) - 1
        regrets.append((one, other))
    ours, of_best_run = np.mean(regrets, 0)
    assert ours < of_best_run


def test_the_correlation_leaves_each_run_out():
    # Losses that no rates explain: with each run left out, predictions do not follow them.
    rates = drawn_rates(30, np.ones(4), seed=5)
    noise = np.random.default_rng(6).normal(size=30)
    found = propose_rates(rates, noise)
    assert found.correlation < 0.4
    smooth = rates @ np.array([1.0, 2.0, 0.0, -1.0]) + 1e-3 * noise
    assert propose_rates(rates, smooth).correlation > 0.99


@pytest.mark.parametrize(
    ("rates", "losses", "message"),
    [
        (np.ones((3, 3)), np.ones(3), "need 4 runs"),
        (np.ones((4, 3)), np.ones(3), "do not fit"),
        (np.ones((4, 3)), np.full(4, np.nan), "finite"),
    ],
)
def test_what_cannot_be_regressed(rates, losses, message):
    with pytest.raises(ValueError, match=message):
        propose_rates(rates, losses)

"""The bandit finds the group that lowers the loss, and is that of the paper."""

import numpy as np
import pytest

from mtljax.mixtures import exp3


def play(schedule, drops, steps, groups=3):
    """Losses that fall by the rates times these drops, ever more slowly."""
    state, loss = schedule.init(groups), 10.0
    chosen = []
    for step in range(steps):
        _, state = schedule.update({"validation_losses": np.full(groups, loss)}, state)
        chosen.append(int(state.own.arm))
        loss -= float(state.rates @ drops) / (1 + 0.02 * step)
    return state, chosen


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_the_group_that_lowers_the_loss(seed):
    state, chosen = play(exp3(seed=seed, floor=0.2), np.array([0.1, 0.0, 0.05]), 60)
    assert state.own.log_weights.argmax() == 0
    assert chosen[30:].count(0) > 15


def test_arms_are_drawn_in_their_shares():
    state, chosen = play(exp3(floor=0.2), np.zeros(3), 400)
    # Without any differences the probabilities stay those of the beginning.
    np.testing.assert_allclose(state.own.log_weights, 0, atol=1e-12)
    np.testing.assert_allclose(np.bincount(chosen) / 400, 1 / 3, atol=0.01)


def test_rewards_are_weighed_by_importance():
    schedule = exp3(target=0, step_size=0.5, emphasis=0.4, floor=0.3)
    state, losses = schedule.init(2, [3, 1]), [5.0, 4.0, 2.5, 2.0]
    weights = np.log((np.array([0.75, 0.25]) - 0.15) / 0.7)
    drops, largest = [], 0.0
    for number, loss in enumerate(losses):
        arm = int(state.own.arm)
        p = 0.7 * np.exp(weights) / np.exp(weights).sum() + 0.15
        if number >= 2:
            advantage = losses[number - 1] - loss - np.mean(drops)
            largest = max(largest, abs(advantage))
            weights[arm] += 0.5 * advantage / largest / (2 * p[arm])
        if number >= 1:
            drops.append(losses[number - 1] - loss)
        rates, state = schedule.update({"validation_losses": np.array([loss, np.e])}, state)
        p = 0.7 * np.exp(weights) / np.exp(weights).sum() + 0.15
        one = np.arange(2) == int(state.own.arm)
        np.testing.assert_allclose(rates, 0.7 * (0.6 * p + 0.4 * one) + 0.15, rtol=1e-10)
    assert len(set(np.round(weights, 6))) == 2

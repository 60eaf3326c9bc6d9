"""Groups are given up when they cost the target, and only then."""

import numpy as np
import pytest

from mtljax.mixtures import elimination


def gramians(steps, cosines, noise=0.3, seed=0):
    """Of gradients whose means have these cosines with the first, which is a unit vector."""
    random = np.random.default_rng(seed)
    size = 400
    means = np.zeros((len(cosines) + 1, size))
    means[0, 0] = 1
    for k, cosine in enumerate(cosines, 1):
        means[k, [0, k]] = cosine, np.sqrt(1 - cosine**2)
    for _ in range(steps):
        gradients = means + noise * random.normal(size=means.shape) / np.sqrt(size)
        yield gradients @ gradients.T


def after(schedule, given, groups):
    state = schedule.init(groups)
    for gramian in given:
        _, state = schedule.update({"gramian": gramian}, state)
    return state


@pytest.mark.parametrize("seed", range(5))
def test_groups_that_cost_the_target_are_given_up(seed):
    schedule = elimination(target=0, floor=0.1)
    state = after(schedule, gramians(30, [0.3, -0.3, 0.0], seed=seed), 4)
    assert state.own.active.tolist()[:3] == [True, True, False]
    active = state.own.active
    np.testing.assert_allclose(state.rates[~active], 0.1 / 4, rtol=1e-12)
    np.testing.assert_allclose(state.rates[active], (1 - 0.1 / 4 * (~active).sum()) / active.sum())


def test_mean_and_variance_are_those_of_the_cosines():
    given = list(gramians(6, [0.3, -0.1]))
    norms = [np.sqrt(np.diagonal(g)) for g in given]
    cosines = np.array([g[0] / n[0] / n for g, n in zip(given, norms, strict=True)])
    own = after(elimination(target=0, least=9), given, 3).own
    np.testing.assert_allclose(own.mean[1:], cosines.mean(0)[1:], rtol=1e-12)
    np.testing.assert_allclose(own.spread[1:] / 5, cosines.var(0, ddof=1)[1:], rtol=1e-10)
    assert own.count.tolist() == [0, 6, 6]


def test_for_all_the_target_is_the_sum_of_the_other_active_ones():
    given = list(gramians(8, [0.8, -0.9]))
    sums = [
        (g[0, 1] + g[0, 2]) / np.sqrt(g[0, 0] * (g[1, 1] + g[2, 2] + 2 * g[1, 2])) for g in given
    ]
    np.testing.assert_allclose(
        after(elimination(), given[:4], 3).own.mean[0], np.mean(sums[:4]), rtol=1e-10
    )
    # At the fifth the third group is given up, and the others are compared with each other.
    own = after(elimination(least=5), given, 3).own
    assert own.active.tolist() == [True, True, False]
    assert own.count.tolist() == [3, 3, 0]
    then = [g[0, 1] / np.sqrt(g[0, 0] * g[1, 1]) for g in given[5:]]
    np.testing.assert_allclose(own.mean[:2], np.mean(then), rtol=1e-10)


def test_one_group_stays_though_all_cost():
    opposed = np.array([[1.0, -0.9], [-0.9, 1.0]])
    own = after(elimination(), [opposed] * 10, 2).own
    assert own.active.sum() == 1

"""DWA against means over slices of the losses."""

import jax
import numpy as np
import pytest

from mtljax.weighting.dwa import dwa
from tests.weighting.steps import assert_trees_equal, softmax, steps

PERIOD = 3


def expected(rows, temperature):
    """Weights of every step, from the losses of all steps before it."""
    found = []
    for step in range(len(rows)):
        over = step // PERIOD
        if over < 2:
            found.append(np.ones(rows.shape[1]))
            continue
        means = [rows[e * PERIOD : (e + 1) * PERIOD].mean(axis=0) for e in (over - 1, over - 2)]
        found.append(rows.shape[1] * softmax(means[0] / means[1] / temperature))
    return np.stack(found)


def test_equals_the_ratios_of_epoch_means(rng):
    rows = rng.uniform(0.1, 5, (14, 4))
    found, _ = steps(dwa(0.7, PERIOD), rows)
    np.testing.assert_allclose(found, expected(rows, 0.7), rtol=1e-12)
    found, _ = steps(dwa(0.7, PERIOD), rows, dtype="float32")
    np.testing.assert_allclose(found, expected(rows, 0.7), rtol=1e-5)


def test_a_task_counts_its_own_steps(rng):
    """Where it is absent, the others go on as if it did not exist, and it as if no time passed."""
    rows = rng.uniform(0.1, 5, (14, 3))
    here = np.ones((14, 3), bool)
    here[[1, 2, 6, 9], 1] = False
    found, end = steps(dwa(period=PERIOD), rows, mask=here)
    _, alone = steps(dwa(period=PERIOD), rows[here[:, 1], 1:2])
    assert_trees_equal([leaf[1:2] for leaf in end], list(alone))
    _, others = steps(dwa(period=PERIOD), rows[:, ::2])
    assert_trees_equal([leaf[::2] for leaf in end], list(others))
    np.testing.assert_allclose(found.sum(axis=1), here.sum(axis=1), rtol=1e-12)


def test_a_new_task_counts_as_unchanged():
    rows = np.array([[4.0, 9.0], [2.0, 9.0], [1.0, 9.0]])
    here = np.array([[True, False], [True, False], [True, True]])
    found, _ = steps(dwa(period=1), rows, mask=here)
    np.testing.assert_allclose(found[2], 2 * softmax(np.array([0.25, 0.5])), rtol=1e-12)


def test_degenerate_means():
    def last(*rows):
        return steps(dwa(period=1), np.array(rows), dtype="float32")[0][-1]

    zeros = last([0.0, 1.0], [0.0, 1.0], [0.0, 1.0])
    np.testing.assert_allclose(zeros, 1, rtol=1e-6)
    np.testing.assert_allclose(last([1e-30, 1.0], [1e30, 1.0], [1.0, 1.0]), [2, 0], atol=1e-6)
    np.testing.assert_allclose(last([-1e-30, 1.0], [1e30, 1.0], [1.0, 1.0]), [0, 2], atol=1e-6)


def test_long_periods_keep_their_digits():
    method = dwa(period=10**6)
    start = {"running": np.ones(1, np.float32), "steps": np.full(1, 10**6 - 2, np.int32)}
    state, update = method.init(1)._replace(**start), jax.jit(method.update)
    _, state = update(np.ones(1), state)
    _, state = update(np.ones(1), state)
    assert state.last[0] == pytest.approx(1, rel=1e-6) and state.steps[0] == 0


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda: dwa(temperature=0.0), ValueError, "temperature"),
        (lambda: dwa(period=0), ValueError, "period"),
        (lambda: dwa(period=1.5), TypeError, "period"),
    ],
)
def test_wrong_arguments_are_named(call, error, names):
    with pytest.raises(error, match=names):
        call()

"""The moving average against the recursion of the paper."""

import jax
import numpy as np
import pytest

from mtljax.weighting import fixed
from mtljax.weighting.geometric import geometric
from mtljax.weighting.wrappers import moving_average
from tests.weighting.steps import assert_trees_equal, steps


@pytest.mark.parametrize("alpha", [0.0, 0.9, 1.0, lambda step: step / (step + 1.0)])
def test_equals_the_recursion(rng, alpha):
    rows = rng.uniform(0.1, 5, (7, 3))
    inner, _ = steps(geometric(), rows)
    found, end = steps(moving_average(geometric(), alpha), rows)
    expected = inner[0]
    for step, weights in enumerate(inner):
        share = float(alpha(step) if callable(alpha) else alpha)
        if step:
            expected = share * expected + (1 - share) * weights
        np.testing.assert_allclose(found[step], expected, rtol=1e-10)
    assert end.average.step == 7
    if callable(alpha):  # this schedule makes the plain mean
        np.testing.assert_allclose(found[-1], inner.mean(axis=0), rtol=1e-10)


def test_an_absent_task_waits(rng):
    rows = rng.uniform(0.1, 5, (6, 3))
    here = np.ones((6, 3), bool)
    here[:2, 1] = here[4, 1] = False
    found, _ = steps(moving_average(geometric(), 0.5), rows, mask=here)
    inner, _ = steps(geometric(), rows, mask=here)
    own, average = inner[here[:, 1], 1], []
    for weights in own:
        average.append(weights if not average else (average[-1] + weights) / 2)
    np.testing.assert_allclose(found[here[:, 1], 1], average, rtol=1e-10)
    assert (found[~here] == 0).all()


def test_a_number_that_is_not_finite():
    method = moving_average(geometric())
    update = jax.jit(method.update)
    _, state = update(np.array([1.0, 4.0]), method.init(2))
    weights, after = update(np.array([np.nan, 4.0]), state)
    np.testing.assert_array_equal(weights, [0, 1])  # what the method answers
    assert_trees_equal(after, state)


def test_signals_reach_the_method_and_are_checked():
    method = moving_average(fixed([1.0, 2.0]))
    with pytest.raises(TypeError, match="gramain"):
        method.update(np.ones(2), method.init(2), gramain=np.eye(2))
    with pytest.raises(ValueError, match="num_tasks"):
        method.init(0)
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="alpha"):
            moving_average(fixed([1.0]), alpha)

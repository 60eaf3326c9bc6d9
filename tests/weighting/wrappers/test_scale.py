import jax
import numpy as np
import pytest

from mtljax.weighting import fixed, uncertainty
from mtljax.weighting.wrappers import scale


@pytest.mark.parametrize(("to", "total"), [("mean", 1), ("sum", 3)])
@pytest.mark.parametrize("size", [1e-37, 1e-20, 1.0, 1e20, 1e37])
def test_weights_have_the_sum(to, total, size):
    method = scale(fixed(np.array([1.0, 2.0, 5.0]) * size), to)
    # Not compiled as a whole, which would be a program for each size.
    weights, _ = method.update(np.ones(3), method.init(3))
    np.testing.assert_allclose(weights, np.array([1, 2, 5]) / 8 * total, rtol=1e-6)


def test_absent_tasks_and_numbers_that_are_not_finite():
    method = scale(fixed([1.0, 2.0, 5.0]), "sum")
    update = jax.jit(method.update)
    weights, _ = update(np.ones(3), (), mask=np.array([True, False, True]))
    np.testing.assert_allclose(weights, [1 / 3, 0, 5 / 3], rtol=1e-6)
    weights, _ = update(np.array([1.0, 1.0, np.nan]), (), mask=np.ones(3, bool))
    np.testing.assert_allclose(weights, [2 / 3, 4 / 3, 0], rtol=1e-6)


def test_signs_stay():
    weights, _ = jax.jit(scale(fixed([1.0, -3.0])).update)(np.ones(2), ())
    np.testing.assert_allclose(weights, [0.25, -0.75])
    weights, _ = jax.jit(scale(fixed([0.0, 0.0])).update)(np.ones(2), ())
    np.testing.assert_array_equal(weights, 0)


def test_the_state_is_that_of_the_method():
    inner = uncertainty()
    method = scale(inner)
    losses = np.array([3.0, 0.1])
    state, plain = method.init(2), inner.init(2)
    update, update_inner = jax.jit(method.update), jax.jit(inner.update)
    for _ in range(3):
        weights, state = update(losses, state)
        expected, plain = update_inner(losses, plain)
        np.testing.assert_allclose(weights, expected / np.sum(expected), rtol=1e-6)
    np.testing.assert_array_equal(state.log_variance, plain.log_variance)


def test_another_scale_is_named():
    with pytest.raises(ValueError, match="to must"):
        scale(fixed([1.0]), "max")

"""IMTL-L against Adam on finite differences of its objective."""

import jax
import numpy as np
import pytest

from mtljax.weighting.imtl_l import imtl_l
from tests.weighting.steps import Adam, derivative, steps


def objective(s, losses):
    return np.sum(np.exp(s) * losses - s)


def test_equals_adam_on_the_objective(rng):
    rows = rng.uniform(0.1, 5, (25, 4))
    found, end = steps(imtl_l(lr=0.05), rows)
    s, adam = np.zeros(4), Adam(0.05)
    for losses, weights in zip(rows, found, strict=True):
        # Adam amplifies the rounding of the differences where a slope passes 0.
        np.testing.assert_allclose(
            weights, derivative(lambda x, s=s: objective(s, x), losses), 1e-5
        )
        s = s + adam.step(derivative(lambda x, row=losses: objective(x, row), s))
    np.testing.assert_allclose(end.log_weight, s, atol=1e-5)


def test_ends_where_all_weighted_losses_are_one():
    losses = np.array([0.2, 1.0, 30.0])
    found, _ = steps(imtl_l(lr=0.05), np.tile(losses, (1500, 1)), dtype="float32")
    np.testing.assert_allclose(found[-1] * losses, 1, rtol=1e-3)


@pytest.mark.parametrize(("loss", "limit"), [(0.0, 20.0), (-1.0, 20.0), (1e12, -20.0)])
def test_log_weights_are_limited(loss, limit):
    method = imtl_l(lr=0.1)
    update = jax.jit(method.update)
    state = method.init(1)._replace(log_weight=np.full(1, 0.999 * limit, np.float32))
    for _ in range(2):
        weights, state = update(np.full(1, loss), state)
    assert state.log_weight[0] == limit and weights[0] == pytest.approx(np.exp(limit))


@pytest.mark.parametrize("lr", [0.0, -1.0, float("nan")])
def test_a_wrong_rate_is_named(lr):
    with pytest.raises(ValueError, match="lr"):
        imtl_l(lr)

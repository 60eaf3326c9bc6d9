"""Learned weights against the derivative of the paper's objective."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.weighting.gradnorm import gradnorm
from tests.weighting.padded import updates


def balance(weights, norms, losses, first, alpha, lr, floor):
    """One step of the paper, with the norms divided by their mean."""
    ratios = losses / first
    rates = ratios / ratios.mean()
    target = (weights * norms).mean() * rates**alpha
    # Of the sum of |w n - target|, where the target is a constant.
    slope = np.sign(weights * norms - target) * norms / norms.mean()
    moved = np.maximum(weights - lr * slope, floor)
    return moved * len(weights) / moved.sum()


UPDATE = updates(functools.partial(gradnorm, lr=0.05, floor=0.1))


@pytest.mark.parametrize(
    ("alpha", "scale", "num_tasks"), [(0.0, 1e-9, 4), (0.5, 1.0, 4), (1.5, 1e9, 50)]
)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-9)])
def test_equals_the_derivative_of_the_objective(rng, alpha, scale, num_tasks, dtype, tolerance):
    with jax.enable_x64(dtype == "float64"):
        ones, here = np.ones(num_tasks, dtype), np.ones(num_tasks, bool)
        state, weights, first = gradnorm().init(num_tasks), np.ones(num_tasks), None
        for _ in range(30):
            losses = rng.uniform(0.1, 3, num_tasks).astype(dtype)
            norms = rng.uniform(0.1, 2, num_tasks).astype(dtype)
            first = losses if first is None else first
            signals = {"gramian_diagonal": np.asarray((scale * norms) ** 2, dtype)}
            found, state = UPDATE((alpha,), losses, state, here, ones, signals)
            assert found.dtype == dtype
            np.testing.assert_allclose(found, weights, rtol=tolerance)
            values = (x.astype(float) for x in (norms, losses, first))
            weights = balance(weights, *values, alpha, 0.05, 0.1)
        np.testing.assert_allclose(state.first_losses, first)
        assert np.sum(state.weights) == pytest.approx(num_tasks, rel=1e-5)
        assert np.ptp(state.weights) > 0.1


def test_ends_where_the_norms_are_balanced():
    """Equal progress: w n is the same for every task. A slow task is to get more."""
    squares = np.float32([1, 4, 16])
    method = gradnorm(lr=1e-3)

    @jax.jit
    def end(state):
        def step(_, state):
            return method.update(jnp.ones(3), state, gramian_diagonal=squares)[1]

        return jax.lax.fori_loop(0, 3000, step, state)

    state = end(method.init(3))
    np.testing.assert_allclose(state.weights, np.array([12, 6, 3]) / 7, atol=0.01)
    state = method.init(2)
    ones, update = np.ones(2, np.float32), jax.jit(method.update)
    _, state = update(ones, state, gramian_diagonal=ones)
    _, state = update(np.float32([1, 0.2]), state, gramian_diagonal=ones)
    assert state.weights[0] > state.weights[1]


def test_first_losses_are_averaged_over_the_warm_up():
    method = gradnorm(warmup_steps=3)
    state, update = method.init(2), jax.jit(method.update)
    rows = np.array([[1.0, 5.0], [2.0, 7.0], [6.0, 9.0], [100.0, 100.0]])
    for step, row in enumerate(rows):
        _, state = update(row, state, gramian_diagonal=np.ones(2))
        np.testing.assert_allclose(state.first_losses, rows[: min(step + 1, 3)].mean(0), rtol=1e-6)
    np.testing.assert_array_equal(state.count, 3)


def test_an_absent_task_keeps_its_state_and_its_share():
    method = gradnorm(lr=0.1)
    state = method.init(3)._replace(weights=np.float32([0.5, 2.0, 0.5]))
    mask, update = np.array([True, False, True]), jax.jit(method.update)
    w, new = update(np.ones(3), state, gramian_diagonal=np.array([1.0, 1.0, 9.0]), mask=mask)
    np.testing.assert_allclose(w, [1, 0, 1])
    assert new.weights[1] == 2 and new.count[1] == 0 and new.first_losses[1] == 0
    assert np.sum(new.weights) == pytest.approx(3) and new.weights[0] > new.weights[2]
    # It starts from the first loss that it has, whenever that is.
    present = np.ones(3, bool)
    losses = np.array([2.0, 5.0, 2.0])
    _, new = update(losses, new, gramian_diagonal=np.ones(3), mask=present)
    np.testing.assert_allclose(new.first_losses, [1, 5, 1])


def test_degenerate_answers():
    method = gradnorm()
    weights, update = np.float32([0.5, 1.5]), jax.jit(method.update)
    state = method.init(2)._replace(weights=weights)
    found, new = update(np.ones(2), state, gramian_diagonal=np.zeros(2))
    np.testing.assert_array_equal(found, weights)
    np.testing.assert_array_equal(new.weights, weights)
    _, new = update(np.ones(1), method.init(1), gramian_diagonal=np.ones(1))
    assert new.weights[0] == 1
    for first, later in (
        (np.zeros(2), np.ones(2)),
        (np.full(2, -1.0), np.ones(2)),
        (np.ones(2), np.zeros(2)),
        (np.ones(2), np.full(2, -3.0)),
        (np.full(2, 1e-30), np.array([1e30, 1.0])),
    ):
        state = method.init(2)
        for losses in (first, later, later):
            w, state = update(losses, state, gramian_diagonal=np.array([1e-30, 1e30]))
            assert np.isfinite(w).all() and np.all(np.asarray(w) > 0)
            assert all(np.isfinite(leaf).all() for leaf in state)


def test_the_floor_holds():
    method = gradnorm(lr=100.0, floor=0.01)
    update = jax.jit(method.update)
    _, state = update(np.ones(2), method.init(2), gramian_diagonal=np.array([1.0, 100.0]))
    assert np.all(np.asarray(state.weights) > 0)


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda: gradnorm(alpha=-1.0), ValueError, "alpha"),
        (lambda: gradnorm(lr=0.0), ValueError, "lr"),
        (lambda: gradnorm(floor=0.0), ValueError, "floor"),
        (lambda: gradnorm(warmup_steps=0), ValueError, "warmup_steps"),
        (lambda: gradnorm(warmup_steps=1.5), TypeError, "warmup_steps"),
    ],
)
def test_wrong_arguments_are_named(call, error, names):
    with pytest.raises(error, match=names):
        call()

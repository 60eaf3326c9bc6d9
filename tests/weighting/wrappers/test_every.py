"""Weights kept for k steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.weighting import random
from mtljax.weighting.common.contract import Weighting
from mtljax.weighting.common.guard import guard
from mtljax.weighting.geometric import geometric
from mtljax.weighting.wrappers import every, moving_average, needs_gradients
from tests.weighting.steps import assert_trees_equal, steps


def inverse_norms() -> Weighting:
    def update(losses, state, *, present, gramian):
        del losses, present
        return 1 / jnp.maximum(gramian.norms, 1e-30), state + 1

    return guard(
        lambda num_tasks: jnp.zeros((), jnp.int32),
        update,
        fallback=lambda state, counted: counted.astype(float),
        requires=("losses", "gramian"),
    )


def test_one_step_is_the_method_itself():
    method = geometric()
    assert every(method, 1) is method
    assert needs_gradients(method.init(2))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_change_in_every_kth_step(rng, dtype):
    rows = rng.uniform(0.1, 5, (8, 3))
    inner, _ = steps(geometric(), rows[::3], dtype=dtype)
    found, end = steps(every(geometric(), 3), rows, dtype=dtype)
    np.testing.assert_allclose(found, inner.repeat(3, axis=0)[:8], rtol=1e-6)
    assert end.kept.wait == 1


def test_signals_are_read_and_the_state_moves_when_due():
    method = every(inverse_norms(), 3)
    state = method.init(2)
    for step in range(7):
        due = step % 3 == 0
        assert needs_gradients(state) == due
        # Between, an engine has no Gramian.
        gramian = jnp.diag(jnp.array([4.0, 16.0])) * (step + 1) ** 2 if due else jnp.zeros((2, 2))
        weights, state = method.update(jnp.ones(2), state, gramian=gramian)
        last = step // 3 * 3 + 1
        np.testing.assert_allclose(weights, np.array([0.5, 0.25]) / last, rtol=1e-6)
        assert state.inner == step // 3 + 1


def test_a_resumed_run_asks_in_the_same_steps(rng):
    rows = rng.uniform(0.1, 5, (8, 3))
    method = every(moving_average(random(seed=4)), 3)
    straight, end = steps(method, rows, dtype="float32")
    _, half = steps(method, rows[:4], dtype="float32")
    resumed, resumed_end = steps(method, rows[4:], half, dtype="float32")
    np.testing.assert_array_equal(resumed, straight[4:])
    assert_trees_equal(resumed_end, end)


def test_a_new_task_makes_a_step_due(rng):
    rows = rng.uniform(0.1, 5, (7, 3))
    here = np.ones((7, 3), bool)
    here[[0, 1, 4], 2] = False
    method = every(geometric(), 4)
    state = method.init(3)
    asked = []
    for losses, mask in zip(rows, here, strict=True):
        asked.append(bool(needs_gradients(state, mask)))
        weights, state = method.update(jnp.asarray(losses), state, mask=jnp.asarray(mask))
        assert ((weights > 0) == mask).all()
    # At step 4 the third task is absent, and has its old weight afterwards.
    assert asked == [True, False, True, False, True, False, False]


def test_numbers_that_are_not_finite():
    method = every(inverse_norms(), 2)
    state = method.init(2)
    weights, after = method.update(jnp.ones(2), state, gramian=jnp.diag(jnp.array([jnp.nan, 1])))
    np.testing.assert_array_equal(weights, [0, 1])
    assert_trees_equal(after, state)  # the next step is due
    gramian = jnp.diag(jnp.array([4.0, 16.0]))
    _, state = method.update(jnp.ones(2), state, gramian=gramian)
    weights, after = method.update(jnp.array([1.0, jnp.inf]), state, gramian=gramian)
    np.testing.assert_allclose(weights, [0.5, 0], rtol=1e-6)
    assert_trees_equal(after, state)
    weights, after = method.update(jnp.ones(2), state, gramian=gramian * jnp.nan)  # not read
    np.testing.assert_allclose(weights, [0.5, 0.25], rtol=1e-6)
    assert after.kept.wait == 0


def test_a_batch_of_problems_due_in_different_steps(rng):
    rows = rng.uniform(0.1, 5, (2, 5, 3)).astype(np.float32)
    update = jax.jit(every(geometric(), 2).update)
    start = every(geometric(), 2).init(3)
    # Problems that are due in different steps.
    states = [update(rows[0, 0], start)[1], start]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *states)
    weights, _ = jax.jit(jax.vmap(update))(rows[:, 1], stacked)
    for row, state, found in zip(rows[:, 1], states, weights, strict=True):
        np.testing.assert_allclose(update(row, state)[0], found, rtol=1e-6)


def test_wrong_arguments_are_named():
    for k, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="k must"):
            every(geometric(), k)
    method = every(inverse_norms(), 2)
    with pytest.raises(ValueError, match="gramian"):
        method.update(jnp.ones(2), method.init(2))
    with pytest.raises(ValueError, match="mask"):
        method.update(jnp.ones(2), method.init(2), mask=jnp.ones(3, bool))
    with pytest.raises(TypeError, match="mask"):
        method.update(jnp.ones(2), method.init(2), mask=jnp.ones(2))

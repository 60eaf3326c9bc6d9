import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mtljax.aggregation import excess_mtl


def transcription(rows, eta, warmup):
    """The paper's algorithm with plain squares and plain weights."""
    sums, weights, early = np.zeros_like(rows[0]), np.ones(len(rows[0])), []
    for t, jacobian in enumerate(rows, start=1):
        sums = sums + jacobian**2
        terms = np.divide(jacobian**2, np.sqrt(sums), where=sums > 0, out=np.zeros_like(sums))
        excess = terms.sum(1)
        if t <= warmup:
            early.append(excess)
        else:
            weights = weights * np.exp(eta * excess / np.mean(early, axis=0))
        weights = weights / weights.sum()
        yield weights @ jacobian, weights


@pytest.mark.parametrize(("eta", "warmup"), [(1e-2, 1), (1.0, 1), (0.5, 3)])
def test_follows_the_paper(eta, warmup, rng, tree, params, flat):
    rows = rng.normal(size=(6, 3, 10)) * np.array([[1.0], [1e-3], [1e3]])
    rows[:, :, 2] = 0
    with jax.enable_x64(True):
        method = excess_mtl(3, eta=eta, warmup_steps=warmup)
        state = method.init(jax.tree.map(lambda p: p.astype(jnp.float64), params))
        update = jax.jit(method.update)
        for jacobian, (direction, weights) in zip(
            rows, transcription(rows, eta, warmup), strict=True
        ):
            found, state = update(tree(jacobian), state)
            np.testing.assert_allclose(flat(found), direction, rtol=1e-11, atol=1e-13)
            np.testing.assert_allclose(special.softmax(state.log_weights), weights, rtol=1e-11)


def test_scales_and_first_step(rng, tree, params, flat):
    rows = rng.normal(size=(3, 10))
    for scale, expected in (("mean", rows.mean(0)), ("sum", rows.sum(0))):
        method = excess_mtl(3, scale=scale)
        direction, _ = jax.jit(method.update)(tree(rows, jnp.float32), method.init(params))
        np.testing.assert_allclose(flat(direction), expected, rtol=1e-5, atol=1e-6)


@functools.cache
def compiled(tasks, eta):
    method = excess_mtl(tasks, eta=eta)
    return method, jax.jit(method.update)


def run(eta, rows, tree, params, masks=None):
    tasks = rows.shape[1]
    method, update = compiled(tasks, eta)
    state = method.init(params)
    for i, jacobian in enumerate(rows):
        mask = np.ones(tasks, bool) if masks is None else np.array(masks[i])
        _, state = update(tree(jacobian, jnp.float32), state, mask=mask)
    return state


def test_a_loss_times_a_constant_changes_no_weight(rng, tree, params):
    rows = rng.normal(size=(5, 3, 10))
    plain = run(0.5, rows, tree, params)
    scaled = run(0.5, rows * [[1e-25], [1.0], [1e25]], tree, params)
    np.testing.assert_allclose(scaled.log_weights, plain.log_weights, rtol=1e-4, atol=1e-5)


def test_absent_tasks_keep_their_weight(rng, tree, params):
    """The two others share what they had together."""
    rows = rng.normal(size=(4, 3, 10))
    masks = [[True] * 3, [True] * 3, [True, False, True], [True, False, True]]
    before = run(1.0, rows[:2], tree, params, masks)
    after = run(1.0, rows, tree, params, masks)
    assert after.log_weights[1] == before.log_weights[1]
    total = [np.exp(state.log_weights)[[0, 2]].sum() for state in (before, after)]
    np.testing.assert_allclose(*total, rtol=1e-5)
    assert after.log_weights[0] != before.log_weights[0]


def test_a_gradient_that_grows_beyond_measure(rng, tree, params):
    rows = rng.normal(size=(3, 2, 10))
    rows *= 1e-30
    rows[1:, 0] *= 1e60
    state = run(1.0, rows, tree, params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    assert special.softmax(state.log_weights)[0] == 1


def test_a_task_that_began_at_zero(rng, tree, params):
    rows = rng.normal(size=(4, 2, 10))
    rows[0, 1] = 0
    state = run(1.0, rows, tree, params)
    assert state.first[1] == 0
    assert state.log_weights[0] > state.log_weights[1]


def test_wrong_options_are_named():
    for options in ({"eta": 0.0}, {"warmup_steps": 0}, {"scale": "max"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            excess_mtl(2, **options)

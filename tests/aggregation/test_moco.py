import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from mtljax.aggregation import moco


def nearest_in_simplex(point):
    """The threshold by root finding rather than by sorting."""
    shift = optimize.brentq(
        lambda s: np.maximum(point - s, 0).sum() - 1, point.min() - 1, point.max(), xtol=1e-15
    )
    return np.maximum(point - shift, 0)


def transcription(rows, beta, beta_decay, gamma, gamma_decay, rho):
    tracked, weights = np.zeros_like(rows[0]), np.full(len(rows[0]), 1 / len(rows[0]))
    for t, jacobian in enumerate(rows, start=1):
        tracked = tracked - beta / t**beta_decay * (tracked - jacobian)
        matrix = tracked @ tracked.T + rho * np.eye(len(weights))
        weights = nearest_in_simplex(weights - gamma / t**gamma_decay * matrix @ weights)
        yield tracked.T @ weights, weights


@jax.jit
def of_options(options, task_grads, state):
    names = ("beta", "beta_decay", "gamma", "gamma_decay", "rho")
    return moco(3, **dict(zip(names, options, strict=True))).update(task_grads, state)


@pytest.mark.parametrize(
    "options", [(0.5, 0.5, 0.1, 0.5, 0.0), (0.9, 0.1, 0.02, 0.0, 0.5), (1.0, 0.0, 1.0, 1.0, 0.0)]
)
def test_follows_the_paper(options, rng, tree, params, flat):
    rows = rng.normal(size=(6, 3, 10)) * np.array([[1.0], [0.3], [2.0]])
    with jax.enable_x64(True):
        state = moco(3).init(jax.tree.map(lambda p: p.astype(jnp.float64), params))
        for jacobian, (direction, weights) in zip(rows, transcription(rows, *options), strict=True):
            found, state = of_options(options, tree(jacobian), state)
            np.testing.assert_allclose(flat(found), direction, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(state.weights, weights, rtol=1e-9, atol=1e-12)


def test_converges_to_the_shortest_combination(tree, params, flat):
    """Two orthogonal gradients of lengths 1 and 2: weights 4/5 and 1/5."""
    rows = np.zeros((2, 10))
    rows[0, 0], rows[1, 1] = 1, 2
    method = moco(2, gamma=0.2, gamma_decay=0.0, beta_decay=0.0)

    def step(state, _):
        direction, state = method.update(tree(rows, jnp.float32), state)
        return state, direction

    state, _ = jax.lax.scan(step, method.init(params), length=200)
    np.testing.assert_allclose(state.weights, [0.8, 0.2], rtol=1e-5)


def test_a_task_that_returns_goes_on_from_its_own_counter(rng, tree, params):
    method = moco(2)
    state, update = method.init(params), jax.jit(method.update)
    rows = tree(rng.normal(size=(2, 10)), jnp.float32)
    for mask in ([True, False], [True, True], [False, True]):
        _, state = update(rows, state, mask=np.array(mask))
    np.testing.assert_array_equal(state.count, [2, 2])
    assert state.step == 3


@pytest.mark.parametrize(
    "options", [{"beta": 0}, {"beta": 1.1}, {"gamma": 0}, {"rho": -1}, {"beta_decay": -1}]
)
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        moco(2, **options)

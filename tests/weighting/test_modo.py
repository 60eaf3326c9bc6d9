import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from mtljax.weighting.modo import modo
from tests.weighting.padded import updates

LOSSES = np.ones(3)


def nearest_in_simplex(point):
    """The threshold by root finding rather than by sorting."""
    shift = optimize.brentq(
        lambda s: np.maximum(point - s, 0).sum() - 1, point.min() - 1, point.max(), xtol=1e-15
    )
    return np.maximum(point - shift, 0)


# The numbers are arguments of one program.
FREE = {normal: updates(functools.partial(modo, normalize=normal)) for normal in (False, True)}


@pytest.mark.parametrize(("gamma", "rho"), [(0.1, 0.1), (0.5, 0.0), (0.05, 2.0)])
@pytest.mark.parametrize("normalize", [False, True])
def test_follows_the_paper(gamma, rho, normalize, rng):
    update = FREE[normalize]
    with jax.enable_x64(True):
        state, mask, ones = modo().init(3), np.ones(3, bool), np.ones(3)
        weights = np.full(3, 1 / 3)
        for _ in range(8):
            first, second = rng.normal(size=(2, 3, 6)) + rng.normal(size=(3, 6))
            products = first @ second.T
            assert np.abs(products - products.T).max() > 0.1  # not symmetric
            used = products
            if normalize:
                used = products / np.sqrt(np.maximum(np.diagonal(products), 0)).mean() ** 2
            weights = nearest_in_simplex(weights - gamma * (used @ weights + rho * weights))
            found, state = update(
                (gamma, rho), ones, state, mask, ones, {"cross_gramian": products}
            )
            np.testing.assert_allclose(found, weights, rtol=1e-10, atol=1e-13)
            np.testing.assert_array_equal(state.weights, found)


@functools.cache
def compiled(normalize):
    return jax.jit(modo(normalize=normalize).update)


def step(products, normalize=False):
    products = jnp.asarray(products, jnp.float32)
    state = modo().init(len(products))
    return compiled(normalize)(np.ones(len(products)), state, cross_gramian=products)


def test_degenerate_products():
    np.testing.assert_allclose(step(np.zeros((3, 3)))[0], 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(step(np.ones((3, 3)))[0], 1 / 3, rtol=1e-6)
    np.testing.assert_array_equal(step([[-5.0]])[0], [1])
    np.testing.assert_array_equal(step(np.diag([1e30, 1.0, 1e30]))[0], [0, 1, 0])


@pytest.mark.parametrize("size", [1e-38, 1e-30, 1e30, 3e38])
@pytest.mark.parametrize("normalize", [False, True])
def test_any_size_has_an_answer(size, normalize, rng):
    products = size * np.clip(rng.normal(size=(3, 3)), -1, 1)
    weights, _ = step(products, normalize=normalize)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-6)
    assert (weights >= 0).all()


def test_normalized_products_have_no_scale(rng):
    products = rng.normal(size=(3, 3)) + 3 * np.eye(3)
    expected, _ = step(products, normalize=True)
    for size in (1e-30, 1e18):
        np.testing.assert_allclose(step(size * products, normalize=True)[0], expected, rtol=1e-5)


def test_absent_tasks(rng):
    method, update = modo(), compiled(False)
    products = rng.normal(size=(3, 3)).astype(np.float32)
    state, mask = method.init(3), jnp.array([True, False, True])
    alone = modo().init(2)
    for _ in range(3):
        weights, state = update(LOSSES, state, cross_gramian=products, mask=mask)
        expected, alone = update(np.ones(2), alone, cross_gramian=products[np.ix_([0, 2], [0, 2])])
        np.testing.assert_allclose(weights[jnp.array([0, 2])], expected, rtol=1e-5)
        assert weights[1] == 0
    np.testing.assert_allclose(state.weights[1], 1 / 3)
    weights, _ = update(LOSSES, state, cross_gramian=products)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-6)


def test_a_task_that_comes_back_and_one_that_had_all_the_weight():
    method, still = modo(), jnp.zeros((3, 3))
    state = method.init(3)._replace(weights=jnp.array([0.6, 0.9, 0.0]))
    weights, _ = method.update(np.ones(3), state, cross_gramian=still)
    # Brought to sum 1, less gamma rho times itself; the projection gives back the same to each.
    np.testing.assert_allclose(weights, 0.99 * np.array([0.4, 0.6, 0.0]) + 0.01 / 3, atol=1e-6)
    mask = jnp.array([False, False, True])
    weights, _ = method.update(np.ones(3), state, cross_gramian=still, mask=mask)
    np.testing.assert_allclose(weights, [0, 0, 1])


def test_a_product_that_is_not_finite(rng):
    products = rng.normal(size=(3, 3)).astype(np.float32)
    products[1, 1] = np.nan
    weights, state = step(products)
    np.testing.assert_allclose(weights, [0.5, 0, 0.5])
    np.testing.assert_array_equal(state.weights, modo().init(3).weights)


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="gamma"):
        modo(gamma=0)
    with pytest.raises(ValueError, match="rho"):
        modo(rho=-1)
    with pytest.raises(ValueError, match="cross_gramian"):
        modo().update(LOSSES, modo().init(3))

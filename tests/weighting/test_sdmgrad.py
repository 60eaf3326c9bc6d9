import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from mtljax.weighting.sdmgrad import sdmgrad
from tests.weighting.padded import updates

LOSSES = np.ones(3)


def nearest_in_simplex(point):
    """The threshold by root finding rather than by sorting."""
    shift = optimize.brentq(
        lambda s: np.maximum(point - s, 0).sum() - 1, point.min() - 1, point.max(), xtol=1e-15
    )
    return np.maximum(point - shift, 0)


def transcription(products, weights, lam, lr, momentum, iters, preferred):
    scaled = products / np.sqrt(np.maximum(np.diagonal(products), 0)).mean() ** 2
    velocity = np.zeros_like(weights)
    for _ in range(iters):
        velocity = momentum * velocity + scaled @ weights + lam * scaled @ preferred
        weights = nearest_in_simplex(weights - lr * velocity)
    return weights


# The numbers are arguments of one program.
FREE = {
    None: updates(sdmgrad),
    (0.2, 0.5, 0.3): updates(functools.partial(sdmgrad, iters=7, pref=(0.2, 0.5, 0.3))),
}


@pytest.mark.parametrize(
    ("lam", "lr", "momentum"), [(0.3, 10.0, 0.5), (0.0, 0.1, 0.0), (2.0, 0.5, 0.9)]
)
@pytest.mark.parametrize("pref", FREE)
def test_follows_the_paper(lam, lr, momentum, pref, rng):
    preferred = np.full(3, 1 / 3) if pref is None else np.array(pref)
    iters = 20 if pref is None else 7
    update = FREE[pref]
    with jax.enable_x64(True):
        state, mask, ones = sdmgrad().init(3), np.ones(3, bool), np.ones(3)
        weights = np.full(3, 1 / 3)
        for _ in range(4):
            first, second = rng.normal(size=(2, 3, 6)) + 2 * rng.normal(size=(3, 6))
            products = first @ second.T
            assert np.abs(products - products.T).max() > 0.1  # not symmetric
            weights = transcription(products, weights, lam, lr, momentum, iters, preferred)
            found, state = update(
                (lam, lr, momentum), ones, state, mask, ones, {"cross_gramian": products}
            )
            np.testing.assert_allclose(state.weights, weights, rtol=1e-8, atol=1e-10)
            np.testing.assert_allclose(
                found, (weights + lam * preferred) / (1 + lam), rtol=1e-8, atol=1e-10
            )


@pytest.fixture(scope="module")
def update():
    return jax.jit(sdmgrad().update)


def test_degenerate_products(update):
    start = sdmgrad().init(3)
    for products in (np.zeros((3, 3)), np.ones((3, 3)), -np.eye(3)):
        weights, _ = update(LOSSES, start, cross_gramian=jnp.asarray(products, jnp.float32))
        np.testing.assert_allclose(weights, 1 / 3, rtol=1e-5)
    weights, _ = update(np.ones(1), sdmgrad().init(1), cross_gramian=jnp.full((1, 1), -2.0))
    np.testing.assert_allclose(weights, 1, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-30, 1e-10, 1e10, 1e20])
def test_the_scale_of_the_gradients_does_not_matter(size, update, rng):
    products = rng.normal(size=(3, 3)) + 3 * np.eye(3)
    start = sdmgrad().init(3)
    expected, _ = update(LOSSES, start, cross_gramian=jnp.asarray(products, jnp.float32))
    found, _ = update(LOSSES, start, cross_gramian=jnp.asarray(size * products, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("size", [1e-38, 3e38])
def test_any_size_has_an_answer(size, update, rng):
    products = jnp.asarray(size * np.clip(rng.normal(size=(3, 3)), -1, 1), jnp.float32)
    products = products.at[0, 0].set(1e-30)
    weights, _ = update(LOSSES, sdmgrad().init(3), cross_gramian=products)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-5)


def test_absent_tasks(update, rng):
    products = (rng.normal(size=(3, 3)) + 2 * np.eye(3)).astype(np.float32)
    state = sdmgrad().init(3)
    mask = jnp.array([True, False, True])
    weights, state = update(LOSSES, state, cross_gramian=products, mask=mask)
    expected, _ = update(
        np.ones(2), sdmgrad().init(2), cross_gramian=products[np.ix_([0, 2], [0, 2])]
    )
    np.testing.assert_allclose(weights[jnp.array([0, 2])], expected, rtol=1e-4)
    assert weights[1] == 0
    np.testing.assert_allclose(state.weights[1], 1 / 3)


def test_wrong_options_are_named():
    for options in ({"lam": -1}, {"lr": 0}, {"momentum": 1.0}, {"iters": 0}, {"pref": [-1.0]}):
        with pytest.raises(ValueError, match=next(iter(options))):
            sdmgrad(**options)
    with pytest.raises(ValueError, match="pref"):
        sdmgrad(pref=[1.0, 2.0]).init(3)

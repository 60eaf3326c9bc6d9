import jax
import numpy as np
import pytest

from mtljax.weighting.auto_lambda import auto_lambda

T, P, RATE = 3, 6, 0.05
LOSSES = np.ones(T)


class Quadratics:
    """Training and validation losses |A theta - b|^2."""

    def __init__(self, rng):
        self.matrices = rng.normal(size=(2, T, 4, P))
        self.targets = rng.normal(size=(2, T, 4))

    def losses(self, theta, which):
        return ((self.matrices[which] @ theta - self.targets[which]) ** 2).sum(1)

    def gradients(self, theta, which):
        rest = self.matrices[which] @ theta - self.targets[which]
        return 2 * np.einsum("tkp,tk->tp", self.matrices[which], rest)

    def inner(self, theta, weights):
        return theta - RATE * weights @ self.gradients(theta, 0)

    def products(self, theta, weights):
        return self.gradients(self.inner(theta, weights), 1) @ self.gradients(theta, 0).T


def test_descends_on_the_validation_losses_after_an_inner_step(rng):
    """The gradient by differences of the outer loss, then Adam, over several steps."""
    problem, theta = Quadratics(rng), rng.normal(size=P)
    weights, mean, square = np.full(T, 0.1), np.zeros(T), np.zeros(T)
    with jax.enable_x64(True):
        method = auto_lambda(outer_lr=0.05)
        state, update = method.init(T), jax.jit(method.update)
        for t in range(1, 6):

            def outer(w, theta=theta):
                return problem.losses(problem.inner(theta, w), 1).sum()

            step = 1e-6 * np.eye(T)
            slope = np.array([(outer(weights + e) - outer(weights - e)) / 2e-6 for e in step])
            slope = slope / RATE  # the inner step size cancels in Adam
            mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
            weights = weights - 0.05 * (mean / (1 - 0.9**t)) / np.sqrt(square / (1 - 0.999**t))
            found, state = update(
                LOSSES,
                state,
                validation_gradients=np.asarray(problem.products(theta, state.weights)),
            )
            np.testing.assert_allclose(state.adam.mean, mean, rtol=1e-6)
            np.testing.assert_allclose(found, weights, rtol=1e-6)
            np.testing.assert_array_equal(found, state.weights)
            theta = theta - RATE * weights @ problem.gradients(theta, 0)


update = jax.jit(auto_lambda().update)


@pytest.mark.parametrize("size", [0.0, 1e-38, 1e38, 3e38])
def test_any_products_have_an_answer(size, rng):
    products = size * np.clip(rng.normal(size=(T, T)), -1, 1)
    weights, state = update(LOSSES, auto_lambda().init(T), validation_gradients=products)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((weights, state)))
    if not size:
        np.testing.assert_allclose(weights, 0.1, rtol=1e-6)


def test_absent_and_broken_tasks(rng):
    products = rng.normal(size=(T, T)).astype(np.float32)
    method = auto_lambda()
    mask = np.array([True, False, True])
    weights, state = update(LOSSES, method.init(T), validation_gradients=products, mask=mask)
    here = np.array([0, 2])
    expected, _ = update(LOSSES[:2], method.init(2), validation_gradients=products[here][:, here])
    np.testing.assert_allclose(np.asarray(weights)[here], expected, rtol=1e-6)
    assert weights[1] == 0 and state.weights[1] == np.float32(0.1) and state.adam.count[1] == 0
    broken = np.where(np.arange(T)[:, None] == 1, np.float32(np.nan), products)
    weights, new = update(LOSSES, state, validation_gradients=broken)
    np.testing.assert_array_equal(weights, np.where(mask, state.weights, 0))
    jax.tree.map(np.testing.assert_array_equal, new, state)


def test_wrong_options_are_named():
    for options in ({"init": 0.0}, {"outer_lr": -1.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            auto_lambda(**options)
    with pytest.raises(ValueError, match="validation_gradients"):
        auto_lambda().update(LOSSES, auto_lambda().init(T))

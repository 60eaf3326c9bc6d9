import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from mtljax.weighting.moml import moml

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


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def shortest(rows):
    """The shortest convex combination, by nonnegative least squares on a homogeneous form."""
    stacked = np.vstack([rows.T, 1e-4 * np.ones(len(rows))])
    found, _ = optimize.nnls(stacked, np.append(np.zeros(rows.shape[1]), 1.0), maxiter=10_000)
    return found / found.sum() @ rows


def test_descends_on_every_validation_loss_after_an_inner_step(rng):
    """The gradients by differences of the outer losses, then Adam, over several steps."""
    problem, theta = Quadratics(rng), rng.normal(size=P)
    logits, mean, square = np.zeros(T), np.zeros(T), np.zeros(T)
    with jax.enable_x64(True):
        method = moml(outer_lr=0.1)
        state, update = method.init(T), jax.jit(method.update)
        for t in range(1, 6):

            def outer(x, theta=theta):
                return problem.losses(problem.inner(theta, softmax(x)), 1)

            step = 1e-5 * np.eye(T)
            slopes = np.array([(outer(logits + e) - outer(logits - e)) / 2e-5 for e in step]).T
            slope = shortest(slopes / np.linalg.norm(slopes, axis=1, keepdims=True))
            mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
            unbiased = np.sqrt(square / (1 - 0.999**t))
            logits = logits - 0.1 * (mean / (1 - 0.9**t)) / (unbiased + 1e-8)
            moved = problem.inner(theta, np.asarray(state.weights))
            products = problem.gradients(moved, 1) @ problem.gradients(theta, 0).T
            found, state = update(LOSSES, state, validation_gradients=jnp.asarray(products))
            # Differences of step 1e-5 are good to about 1e-9 of a loss, which is about 10.
            np.testing.assert_allclose(state.adam.mean, mean, rtol=1e-4, atol=1e-7)
            np.testing.assert_allclose(state.logits, logits, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(found, state.weights, rtol=1e-12)
            logits = np.asarray(state.logits)
            mean, square = np.asarray(state.adam.mean), np.asarray(state.adam.square)
            theta = theta - RATE * np.asarray(found) @ problem.gradients(theta, 0)


@pytest.fixture(scope="module")
def update():
    compiled = jax.jit(moml(outer_lr=0.1).update)

    def run(losses, state, *, mask=None, validation_gradients):
        mask = np.ones(len(losses), bool) if mask is None else mask
        products = np.float32(validation_gradients)
        return compiled(np.float32(losses), state, mask=mask, validation_gradients=products)

    return run


def test_degenerate_products(update):
    start = moml().init(T)
    for products in (np.zeros((T, T)), np.ones((T, T)), np.diag([1, 1, 0])):
        weights, state = update(LOSSES, start, validation_gradients=products)
        np.testing.assert_allclose(weights, 1 / 3, rtol=1e-6)
        np.testing.assert_array_equal(state.logits, 0)
    weights, state = update(np.ones(1), moml().init(1), validation_gradients=[[3.0]])
    assert weights[0] == 1 and state.logits[0] == 0


def test_full_conflict_moves_nothing(update, rng):
    """Some convex combination of the slopes is zero, but for rounding, which Adam would blow up."""
    for _ in range(20):
        products, shares = rng.normal(size=(T, T)), rng.uniform(0.2, 1, T)
        products[-1] = -(shares[:-1] @ products[:-1]) / shares[-1]
        weights, state = update(LOSSES, moml().init(T), validation_gradients=products)
        np.testing.assert_array_equal(state.logits, 0)
        np.testing.assert_allclose(weights, 1 / 3, rtol=1e-6)


@pytest.mark.parametrize("sizes", [[1e-35] * 3, [1e36] * 3, [1e-30, 1.0, 1e30]])
def test_the_scale_of_a_validation_loss_does_not_matter(sizes, update, rng):
    products = np.clip(rng.normal(size=(T, T)), -1, 1) + 0.2
    products = products / np.abs(products).max()
    start = moml().init(T)
    expected, _ = update(LOSSES, start, validation_gradients=products)
    scaled = products * np.array(sizes)[:, None]
    weights, _ = update(LOSSES, start, validation_gradients=scaled)
    np.testing.assert_allclose(weights, expected, rtol=1e-4)


def test_absent_and_broken_tasks(update, rng):
    products = rng.normal(size=(T, T))
    mask = np.array([True, False, True])
    weights, state = update(LOSSES, moml().init(T), validation_gradients=products, mask=mask)
    here = np.array([0, 2])
    expected, _ = update(LOSSES[:2], moml().init(2), validation_gradients=products[here][:, here])
    np.testing.assert_allclose(np.asarray(weights)[here], expected, rtol=1e-5)
    assert weights[1] == 0 and state.logits[1] == 0 and state.adam.count[1] == 0
    broken = np.where(np.arange(T)[:, None] == 1, np.nan, products)
    weights, new = update(LOSSES, state, validation_gradients=broken)
    np.testing.assert_allclose(weights, np.where(mask, state.weights, 0), rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, new, state)


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="outer_lr"):
        moml(outer_lr=0.0)
    with pytest.raises(ValueError, match="validation_gradients"):
        moml().update(LOSSES, moml().init(T))

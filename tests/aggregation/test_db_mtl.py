import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.aggregation import db_mtl


def transcription(rows, losses, beta, decay):
    tracked = np.zeros_like(rows[0])
    for t, (jacobian, values) in enumerate(zip(rows, losses, strict=True), start=1):
        share = beta / t**decay
        tracked = share * tracked + (1 - share) * jacobian / values[:, None]
        norms = np.linalg.norm(tracked, axis=1)
        yield (norms.max() / norms) @ tracked


@pytest.mark.parametrize(("beta", "decay"), [(0.9, 0.0), (0.5, 0.5), (0.0, 0.0)])
def test_follows_the_paper(beta, decay, rng, tree, params, flat):
    rows = rng.normal(size=(6, 3, 10)) * np.array([[1.0], [1e-6], [1e6]])
    losses = np.exp(rng.normal(size=(6, 3)))
    expected = transcription(rows, losses, beta, decay)
    with jax.enable_x64(True):
        method = db_mtl(3, beta=beta, beta_decay=decay)
        state = method.init(jax.tree.map(lambda p: p.astype(jnp.float64), params))
        update = jax.jit(method.update)
        for jacobian, values, direction in zip(rows, losses, expected, strict=True):
            found, state = update(tree(jacobian), state, losses=jnp.asarray(values))
            np.testing.assert_allclose(flat(found), direction, rtol=1e-11)


@functools.cache
def compiled(**options):
    method = db_mtl(2, **options)
    return method, jax.jit(method.update)


def one_step(rows, losses, tree, params, flat, **options):
    method, update = compiled(**options)
    direction, state = update(
        tree(rows, jnp.float32), method.init(params), losses=np.asarray(losses, np.float32)
    )
    return flat(direction), state


def test_a_loss_times_a_constant_changes_nothing(rng, tree, params, flat):
    rows, losses = rng.normal(size=(2, 10)), np.array([0.7, 3.0])
    factors = np.array([1e-20, 1e20])
    plain, _ = one_step(rows, losses, tree, params, flat)
    scaled, _ = one_step(rows * factors[:, None], losses * factors, tree, params, flat)
    np.testing.assert_allclose(scaled, plain, rtol=1e-5)


def test_lengths_that_are_far_apart(rng, tree, params, flat):
    """The weight of the short row, 1e50, has no float32; the direction has."""
    rows = rng.normal(size=(2, 10))
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found, _ = one_step(units * [[1e-25], [1e25]], np.ones(2), tree, params, flat, beta=0.0)
    np.testing.assert_allclose(found, 1e25 * units.sum(0), rtol=1e-4)


@pytest.mark.parametrize("loss", [0.0, -1.0, np.nan, np.inf])
def test_a_loss_without_logarithm_is_left_out(loss, rng, tree, params, flat):
    rows = rng.normal(size=(2, 10))
    found, state = one_step(rows, [2.0, loss], tree, params, flat, beta=0.0)
    np.testing.assert_allclose(found, rows[0] / 2, rtol=1e-5)
    np.testing.assert_array_equal(state.count, [1, 0])


@pytest.mark.parametrize("loss", [1e-38, 1e38])
def test_extreme_losses(loss, rng, tree, params, flat):
    rows = rng.normal(size=(2, 10)) * [[1e20], [1.0]]
    found, state = one_step(rows, [loss, 1.0], tree, params, flat)
    assert np.isfinite(found).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_a_zero_gradient_adds_nothing(rng, tree, params, flat):
    rows = rng.normal(size=(2, 10)) * [[1.0], [0.0]]
    found, _ = one_step(rows, [1.0, 1.0], tree, params, flat, beta=0.0)
    np.testing.assert_allclose(found, rows[0], rtol=1e-5)


def test_wrong_options_are_named(tree, params):
    for options in ({"beta": 1.0}, {"beta": -0.1}, {"beta_decay": -1.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            db_mtl(2, **options)
    method = db_mtl(2)
    with pytest.raises(ValueError, match="losses"):
        method.update(tree(np.ones((2, 10)), jnp.float32), method.init(params))

"""The formulas, each against something independent."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from mtljax import weighting
from mtljax.weighting.common.adam import adam_init, adam_step

LOSSES = jnp.array([0.5, 2.0, 7.0])


def test_equal():
    for scale, expected in (("mean", 1 / 3), ("sum", 1.0)):
        method = weighting.equal(scale)
        weights, _ = method.update(LOSSES, method.init(3))
        np.testing.assert_allclose(weights, expected, rtol=1e-7)


def test_equal_with_a_preference():
    method = weighting.equal(pref=[1.0, 3.0, 0.0])
    np.testing.assert_array_equal(method.update(LOSSES, method.init(3))[0], [1, 3, 0])
    mask = jnp.array([True, False, True])
    found, _ = method.update(LOSSES, method.init(3), mask=mask)
    np.testing.assert_allclose(found, [4, 0, 0])  # the sum stays
    uniform = weighting.equal(pref=[1 / 3] * 3)
    none = weighting.equal()
    for present in (jnp.ones(3, bool), mask):
        np.testing.assert_array_equal(
            *(m.update(LOSSES, m.init(3), mask=present)[0] for m in (uniform, none))
        )
    poisoned, _ = method.update(LOSSES.at[0].set(jnp.nan), method.init(3))
    np.testing.assert_allclose(poisoned, [0, 4, 0])


def test_fixed():
    method = weighting.fixed([3.0, 0.0, 0.25])
    np.testing.assert_array_equal(method.update(LOSSES, method.init(3))[0], [3, 0, 0.25])


def test_random_is_a_softmax_of_standard_normals():
    method = weighting.random(seed=5)
    _, rows = jax.lax.scan(
        lambda s, _: method.update(jnp.ones(2), s)[::-1], method.init(2), length=2000
    )
    np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-6)
    # log(w_1 / w_2) = z_1 - z_2, which is normal with variance 2.
    result = stats.kstest(np.log(rows[:, 0] / rows[:, 1]), stats.norm(scale=2**0.5).cdf)
    assert result.pvalue > 1e-3


def test_random_seeds():
    def first(seed):
        method = weighting.random(seed)
        return method.update(LOSSES, method.init(3))[0]

    np.testing.assert_array_equal(first(3), first(np.int64(3)))
    np.testing.assert_array_equal(first(3), first(jax.random.key(3)))
    np.testing.assert_array_equal(first(3), first(jax.random.PRNGKey(3)))
    assert (first(3) != first(4)).all()
    method = weighting.random(jax.random.key(0, impl="rbg"))
    assert method.update(LOSSES, method.init(3))[0].sum() == pytest.approx(1)


def test_random_state_may_be_donated():
    key = jax.random.PRNGKey(0)
    method = weighting.random(key)
    first, _ = jax.jit(method.update, donate_argnums=1)(LOSSES, method.init(3))
    again, _ = method.update(LOSSES, method.init(3))
    np.testing.assert_allclose(first, again, rtol=1e-6)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_uncertainty_equals_autodiff_and_optax(kind):
    """Adam of Optax on the paper's objective, differentiated by JAX."""
    factor = 0.5 if kind == "regression" else 1.0

    def objective(s, losses):
        return jnp.sum(factor * losses * jnp.exp(-s) + s / 2)

    method = weighting.uncertainty(kind, lr=0.05)
    state = method.init(3)
    adam = optax.adam(0.05)
    s, adam_state = jnp.zeros(3), adam.init(jnp.zeros(3))
    for step in range(20):
        losses = LOSSES * (1 + 0.3 * np.sin(step))
        np.testing.assert_allclose(state.log_variance, s, rtol=1e-4, atol=1e-6)
        expected = jax.grad(lambda x, s=s: objective(s, x))(losses)
        weights, state = method.update(losses, state)
        np.testing.assert_allclose(weights, expected, rtol=1e-4)
        updates, adam_state = adam.update(jax.grad(objective)(s, losses), adam_state)
        s = optax.apply_updates(s, updates)


def test_uncertainty_ends_where_every_task_contributes_one_half():
    method = weighting.uncertainty(["classification", "regression", "classification"], lr=0.05)
    state, _ = jax.lax.scan(
        lambda s, _: (method.update(LOSSES, s)[1], None), method.init(3), length=1500
    )
    weights, _ = method.update(LOSSES, state)
    np.testing.assert_allclose(weights * LOSSES, 0.5, rtol=1e-3)


@pytest.mark.parametrize(("loss", "limit"), [(0.0, -20.0), (-1.0, -20.0), (1e12, 20.0)])
def test_uncertainty_is_clipped(loss, limit):
    method = weighting.uncertainty(lr=0.1)
    state = method.init(1)._replace(log_variance=jnp.full(1, 0.999 * limit))
    weights, state = method.update(jnp.full(1, loss), state)
    weights, state = method.update(jnp.full(1, loss), state)
    assert state.log_variance[0] == limit
    assert weights[0] == pytest.approx(np.exp(-limit))


def test_adam_equals_optax_on_numbers_of_all_sizes():
    gradients = jnp.array([1e-6, -1.0, 1e9])
    adam = optax.adam(0.1)
    state, reference = adam_init(3), adam.init(jnp.zeros(3))
    for scale in (1.0, -2.0, 0.5, 3.0):
        step, state = adam_step(scale * gradients, state, 0.1)
        expected, reference = adam.update(scale * gradients, reference)
        np.testing.assert_allclose(step, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda: weighting.equal("max"), ValueError, "scale"),
        (lambda: weighting.equal(pref=[0.0, 0.0]), ValueError, "pref"),
        (lambda: weighting.equal(pref=[1.0, -1.0]), ValueError, "pref"),
        (lambda: weighting.equal(pref=[1.0, np.nan]), ValueError, "pref"),
        (lambda: weighting.equal(pref=[1.0]).init(2), ValueError, "pref"),
        (lambda: weighting.random(0, "max"), ValueError, "scale"),
        (lambda: weighting.random(0.5), TypeError, "integer"),
        (lambda: weighting.random(jax.random.split(jax.random.key(0))), ValueError, "seed"),
        (lambda: weighting.fixed([]), ValueError, "weights"),
        (lambda: weighting.fixed([[1.0]]), ValueError, "weights"),
        (lambda: weighting.fixed([1.0, np.nan]), ValueError, "weights"),
        (lambda: weighting.fixed(["much"]), TypeError, "weights"),
        (lambda: weighting.fixed([1.0, 2.0]).init(3), ValueError, "weights"),
        (lambda: weighting.fixed([1.0]).update(LOSSES, ()), ValueError, "weights"),
        (lambda: weighting.uncertainty("tagging"), ValueError, "kind"),
        (lambda: weighting.uncertainty(["regression", "x"]), ValueError, "kind"),
        (lambda: weighting.uncertainty(["regression"]).init(2), ValueError, "kind"),
        (lambda: weighting.uncertainty(lr=0.0), ValueError, "lr"),
        (lambda: weighting.uncertainty(lr=float("nan")), ValueError, "lr"),
    ],
)
def test_wrong_arguments_raise_in_the_factory(call, error, names):
    with pytest.raises(error, match=names):
        call()

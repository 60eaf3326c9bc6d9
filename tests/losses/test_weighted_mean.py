import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtljax import losses

weighted_mean = jax.jit(losses.weighted_mean)
pairs_of = st.tuples(st.floats(-1e3, 1e3), st.floats(0.01, 1e3))


@given(st.sampled_from([1, 3, 20]).flatmap(lambda n: st.lists(pairs_of, min_size=n, max_size=n)))
@settings(max_examples=40, deadline=None)
def test_equals_numpy(pairs):
    values, weights = np.array(pairs, np.float32).T
    expected = np.average(values.astype(np.float64), weights=weights.astype(np.float64))
    result = weighted_mean(values, weights)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6 * abs(values).max() + 1e-6)


slopes = jax.jit(jax.value_and_grad(losses.weighted_mean, (0, 1)))


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_weight_zero_is_not_there(poison):
    values, weights = np.float32([1.0, poison, 4.0]), np.float32([1.0, 0.0, 2.0])
    value, (slope, weight_slope) = slopes(values, weights)
    assert value == 3
    np.testing.assert_allclose(slope, [1 / 3, 0, 2 / 3], rtol=1e-6)
    assert np.isfinite(weight_slope).all()


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("poison", [1.0, np.nan, np.inf])
def test_all_weights_zero_give_zero_and_a_zero_gradient(jit, poison):
    f = slopes if jit else jax.value_and_grad(losses.weighted_mean, (0, 1))
    value, (slope, _) = f(np.float32([poison, 2.0, 3.0]), np.zeros(3, np.float32))
    assert value == 0
    np.testing.assert_array_equal(slope, 0)


def test_gradient_through_a_loss_with_a_missing_target():
    def loss(logits):
        return losses.weighted_mean(losses.softmax(logits, np.array([1, -1])), np.array([2.0, 0.0]))

    value, slope = jax.jit(jax.value_and_grad(loss))(np.zeros((2, 3), np.float32))
    assert value == pytest.approx(np.log(3))
    np.testing.assert_allclose(slope, [[1 / 3, -2 / 3, 1 / 3], [0, 0, 0]], rtol=1e-6)


def test_any_shape_dtype_and_boolean_weights():
    values = np.ones((300, 300), jnp.bfloat16)
    result = weighted_mean(values, np.ones((300, 300), bool))
    assert result == 1 and result.dtype == jnp.float32
    with jax.enable_x64(True):
        assert jax.eval_shape(losses.weighted_mean, np.ones(2), np.ones(2)).dtype == jnp.float64
    assert weighted_mean(np.zeros((0,)), np.zeros((0,))) == 0


@pytest.mark.parametrize(
    ("values", "weights", "error", "names"),
    [
        (np.ones(2, int), np.ones(2), TypeError, "values"),
        (np.ones(2), np.ones(2, complex), TypeError, "weights"),
        (np.ones((2, 3)), np.ones(3), ValueError, "weights"),
    ],
)
def test_wrong_arguments_are_named(values, weights, error, names):
    with pytest.raises(error, match=names):
        losses.weighted_mean(values, weights)

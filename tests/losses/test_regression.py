import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mtljax import losses

REFERENCES = {
    losses.squared: lambda p, t: (p - t) ** 2,
    losses.absolute: lambda p, t: abs(p - t),
    losses.huber: lambda p, t: special.huber(1.0, p - t),
}
every_loss = pytest.mark.parametrize("f", REFERENCES, ids=lambda f: f.__name__)


@every_loss
@pytest.mark.parametrize("jit", [False, True])
def test_equals_reference(rng, f, jit):
    predictions, targets = rng.normal(size=(2, 4, 5)) * 2
    expected = REFERENCES[f](predictions, targets)
    g = jax.jit(f) if jit else f
    result = g(predictions.astype(np.float32), targets.astype(np.float32))
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
    with jax.enable_x64(True):
        g = jax.jit(f)
        np.testing.assert_allclose(g(predictions, targets), expected, rtol=1e-13)


@every_loss
def test_gradient_is_zero_at_the_target(f):
    assert jax.jit(jax.grad(f))(2.0, 2.0) == 0


@every_loss
def test_low_precision_input_and_integer_targets(f):
    result = jax.jit(f)(np.full(3, 2.5, jnp.bfloat16), np.array([2, 2, 2]))
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, REFERENCES[f](2.5, 2.0))


@pytest.mark.parametrize("delta", [0.1, 3.0])
def test_huber_delta(rng, delta):
    errors = rng.normal(size=20).astype(np.float32) * 3
    np.testing.assert_allclose(
        jax.jit(losses.huber)(errors, np.zeros(20), delta), special.huber(delta, errors), rtol=1e-5
    )
    slopes = jax.jit(jax.vmap(jax.grad(losses.huber), (0, None, None)))
    slope = slopes(errors, 0.0, delta)
    np.testing.assert_allclose(slope, np.clip(errors, -delta, delta), rtol=1e-6)


@every_loss
@pytest.mark.parametrize(
    ("arguments", "error", "names"),
    [
        ((np.ones(2, int), np.ones(2)), TypeError, "predictions"),
        ((np.ones(2), np.ones(2, complex)), TypeError, "targets"),
        ((np.ones((2, 1)), np.ones(2)), ValueError, "targets"),
    ],
)
def test_wrong_arguments_are_named(f, arguments, error, names):
    with pytest.raises(error, match=names):
        f(*arguments)


@pytest.mark.parametrize("delta", [0.0, -1.0, float("inf"), float("nan")])
def test_wrong_delta_is_named(delta):
    with pytest.raises(ValueError, match="delta"):
        losses.huber(np.ones(2), np.ones(2), delta)

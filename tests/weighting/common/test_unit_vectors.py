import jax
import numpy as np
import pytest

from mtljax.weighting.common.unit_vectors import (
    active_norms,
    from_unit_coefficients,
    from_unit_weights,
    unit_vector,
)


@pytest.mark.parametrize("scale", [1e-37, 1e-20, 1.0, 1e20, 1e37])
def test_a_unit_vector_of_any_size(scale):
    unit, length = jax.jit(unit_vector)(np.array([3.0, -4.0]) * scale)
    np.testing.assert_allclose(unit, [0.6, -0.8], rtol=1e-6)
    assert length == pytest.approx(5 * scale, rel=1e-6)


def test_zeros_have_no_unit_vector():
    unit, length = map(np.asarray, jax.jit(unit_vector)(np.zeros(3)))
    assert (unit == 0).all() and length == 0


def test_weights_of_unit_gradients_become_weights_of_gradients():
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(4, 7)) * [[1e-3], [1.0], [50.0], [0.0]]
    norms = np.linalg.norm(gradients, axis=1)
    units = gradients / np.where(norms > 0, norms, 1)[:, None]
    unit_weights = rng.normal(size=4)
    weights = np.asarray(jax.jit(from_unit_weights)(unit_weights, norms))
    np.testing.assert_allclose(weights @ gradients, unit_weights @ units, rtol=1e-5, atol=1e-6)
    assert weights[3] == 0

    coefficients = rng.normal(size=(4, 4))
    coefficients[3], coefficients[:, 3] = 0, 0
    weights = np.asarray(jax.jit(from_unit_coefficients)(coefficients, norms))
    expected = norms @ (coefficients @ units)
    np.testing.assert_allclose(weights @ gradients, expected, rtol=1e-5, atol=1e-5)


def test_a_quotient_beyond_any_float_is_the_largest_one():
    limits = np.finfo(np.float32)
    weights = jax.jit(from_unit_weights)(np.full(2, 1e9), np.array([limits.tiny, 1.0]))
    np.testing.assert_array_equal(weights, np.array([limits.max, 1e9], np.float32))


def test_norms_are_relative_to_the_largest():
    compiled = jax.jit(active_norms)
    active, relative = compiled(np.array([2.0, 0.0, 8.0]))
    assert active.tolist() == [True, False, True] and relative.tolist() == [0.25, 0.0, 1.0]
    active, relative = map(np.asarray, compiled(np.zeros(3)))
    assert not active.any() and not relative.any()

import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.weighting.common.unit_vector import unit_vector


@pytest.mark.parametrize("scale", [1e-37, 1e-20, 1.0, 1e20, 1e37])
def test_of_any_size(scale):
    unit, length = unit_vector(jnp.array([3.0, -4.0]) * scale)
    np.testing.assert_allclose(unit, [0.6, -0.8], rtol=1e-6)
    assert length == pytest.approx(5 * scale, rel=1e-6)


def test_of_zero():
    unit, length = unit_vector(jnp.zeros(3))
    assert (unit == 0).all() and length == 0

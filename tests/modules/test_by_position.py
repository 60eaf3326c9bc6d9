import flax.linen as nn
import jax
import numpy as np

from mtljax.modules.by_position import by_position


def test_equals_the_products_of_each_position(rng):
    x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    layer = nn.DenseGeneral((2, 6), axis=(-2, -1))
    found, variables = layer.init_with_output(jax.random.key(0), x)
    kernel = np.asarray(variables["params"]["kernel"])
    expected = np.einsum("rshd,hdkm->rskm", x, kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    bound = layer.bind(variables)
    np.testing.assert_allclose(by_position(bound, x), expected, rtol=1e-5, atol=1e-5)

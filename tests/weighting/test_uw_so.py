import jax
import numpy as np
import pytest
from scipy.special import softmax

from mtljax.weighting.uw_so import uw_so
from tests.weighting.steps import steps


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_equals_a_softmax_of_the_inverse_losses(rng, dtype, tolerance):
    rows = rng.uniform(0.1, 5, (6, 4))
    found, _ = steps(uw_so(0.7), rows, dtype=dtype)
    np.testing.assert_allclose(found, softmax(1 / (0.7 * rows), axis=1), rtol=tolerance)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([2.0], [1]),
        ([0.0, 1.0], [1, 0]),
        ([0.0, 0.0, 1.0], [0.5, 0.5, 0]),
        ([1e-30, 1e-20, 1.0], [1, 0, 0]),
        ([-1.0, 1.0], [0.5, 0.5]),
        ([1e30, 1e38], [0.5, 0.5]),
    ],
)
def test_degenerate_losses(losses, expected):
    found = jax.jit(uw_so().update)(np.array(losses), ())[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="temperature"):
        uw_so(temperature=0.0)

import jax
import numpy as np
import pytest
from scipy import special

from mtljax.weighting.common.log_scale import bounded_exp, log_losses, log_softmax, softmax

of_softmax = jax.jit(softmax)


def test_softmax_equals_scipy_on_the_tasks_present(rng):
    logits = rng.normal(size=6) * 10
    here = np.array([1, 1, 0, 1, 0, 1], bool)
    with jax.enable_x64(True):
        found = np.asarray(of_softmax(logits, here))
        logs = np.asarray(jax.jit(log_softmax)(logits, here))
    np.testing.assert_allclose(found[here], special.softmax(logits[here]), rtol=1e-13)
    np.testing.assert_allclose(logs[here], special.log_softmax(logits[here]), rtol=1e-13)
    assert (found[~here] == 0).all()


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([np.inf, -np.inf, 0.0], [1, 0, 0]),
        ([np.inf, np.inf, -3e38], [0.5, 0.5, 0]),
        ([-np.inf, -np.inf, -np.inf], [1 / 3] * 3),
        ([3e38, -3e38, 3e38], [0.5, 0, 0.5]),
    ],
)
def test_softmax_of_numbers_of_any_size(logits, expected):
    found = of_softmax(np.array(logits), np.ones(3, bool))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_softmax_of_nobody():
    assert not np.any(of_softmax(np.ones(3), np.zeros(3, bool)))


def test_the_ends_of_the_log_scale():
    logs = jax.jit(log_losses)(np.array([-1.0, 0.0, 1e-38, 1.0]))
    np.testing.assert_allclose(logs, [-87.336, -87.336, -87.336, 0], atol=0.2)
    ends = np.asarray(jax.jit(bounded_exp)(np.array([-1e30, 0.0, 1e30])))
    assert np.isfinite(ends).all() and (ends > 0).all() and ends[1] == 1

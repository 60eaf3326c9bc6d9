import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mtljax.weighting.common.log_scale import bounded_exp, log_losses, log_softmax, softmax


def test_softmax_equals_scipy_on_the_tasks_present(rng):
    logits = rng.normal(size=6) * 10
    here = np.array([1, 1, 0, 1, 0, 1], bool)
    with jax.enable_x64(True):
        found = np.asarray(softmax(jnp.asarray(logits), jnp.asarray(here)))
        logs = np.asarray(log_softmax(jnp.asarray(logits), jnp.asarray(here)))
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
    found = softmax(jnp.array(logits), jnp.ones(3, bool))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_softmax_of_nobody():
    assert (softmax(jnp.ones(2), jnp.zeros(2, bool)) == 0).all()


def test_the_ends_of_the_log_scale():
    logs = log_losses(jnp.array([-1.0, 0.0, 1e-38, 1.0]))
    np.testing.assert_allclose(logs, [-87.336, -87.336, -87.336, 0], atol=0.2)
    ends = bounded_exp(jnp.array([-1e30, 0.0, 1e30]))
    assert np.isfinite(ends).all() and (ends > 0).all() and ends[1] == 1

"""Preference losses against their definition in NumPy and finite sums over tokens."""

from functools import partial

import jax
import numpy as np
import pytest
from scipy.special import expit

from mtljax import losses


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_equals_its_definition(rng, dtype, tolerance):
    logs = -rng.uniform(1, 40, (4, 6)).astype(dtype)
    margin = rng.normal(size=6).astype(dtype)
    with jax.enable_x64(dtype == "float64"):
        loss = partial(losses.preference, beta=0.3, margin=margin, weight=0.4)
        found = jax.jit(loss)(*logs)
        gradient = jax.jit(jax.grad(lambda *given: loss(*given).sum(), argnums=(0, 1, 2, 3)))(*logs)
    chosen, rejected, chosen_before, rejected_before = logs.astype(float)
    gain = 0.3 * ((chosen - chosen_before) - (rejected - rejected_before))
    score = (gain - margin) / 0.4
    np.testing.assert_allclose(found, -np.log(expit(score)), rtol=tolerance, atol=tolerance)
    slope = 0.3 / 0.4 * expit(-score)
    expected = [-slope, slope, 0 * slope, 0 * slope]
    np.testing.assert_allclose(gradient, expected, rtol=10 * tolerance, atol=tolerance)


def test_large_differences_stay_finite():
    zeros, chosen = np.zeros(2, np.float32), np.array([-1e6, 0.0], np.float32)
    value, gradient = jax.jit(
        jax.value_and_grad(
            lambda c: losses.preference(c, chosen[::-1], zeros, zeros, beta=1.0).sum()
        )
    )(chosen)
    assert value == pytest.approx(1e6) and np.isfinite(gradient).all()


def test_sums_over_the_tokens_of_packed_answers(rng):
    tokens = rng.uniform(0, 3, (2, 7)).astype(np.float32)
    answers = np.array([[-1, 0, 0, 1, -1, 1, 5], [2, 2, -1, 0, 0, 0, -1]], np.int8)
    tokens[0, 0] = np.nan  # a prompt's
    found = jax.jit(losses.answer_log_probabilities, static_argnums=2)(tokens, answers, 3)
    expected = [[-tokens[row][answers[row] == each].sum() for each in range(3)] for row in (0, 1)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    total = jax.grad(lambda t: losses.answer_log_probabilities(t, answers, 3).sum())
    gradient = jax.jit(total)(tokens)
    np.testing.assert_array_equal(gradient, -((answers >= 0) & (answers < 3)).astype(float))


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda one: losses.preference(one, one, one, np.ones(3)), ValueError, "reference_rej"),
        (lambda one: losses.preference(one, one[:1], one, one), ValueError, "rejected"),
        (lambda one: losses.preference(one > 0, one, one, one), TypeError, "chosen"),
        (lambda one: losses.preference(one, one, one, one, margin=np.ones(3)), ValueError, "marg"),
        (lambda one: losses.preference(one, one, one, one, beta=0.0), ValueError, "beta"),
        (lambda one: losses.preference(one, one, one, one, weight=-1.0), ValueError, "weight"),
        (lambda one: losses.answer_log_probabilities(one, one, 1), TypeError, "answers"),
        (lambda one: losses.answer_log_probabilities(one, np.array([1]), 1), ValueError, "answ"),
    ],
)
def test_bad_arguments_are_named(call, error, names):
    with pytest.raises(error, match=names):
        call(np.ones(2))

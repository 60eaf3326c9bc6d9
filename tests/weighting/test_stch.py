"""Smooth Tchebycheff scalarization against finite differences of its two objectives."""

import jax
import numpy as np
import pytest
from scipy.special import logsumexp

from mtljax.weighting.stch import stch
from tests.weighting.steps import derivative, steps


def update(method, losses, dtype="float32", **kwargs):
    with jax.enable_x64(dtype == "float64"):
        losses = np.asarray(losses, dtype)
        return np.asarray(jax.jit(method.update)(losses, method.init(losses.size), **kwargs)[0])


RAW = stch(form="raw")


@pytest.mark.parametrize("pref", [None, [0.2, 0.5, 1.0, 0.0]])
def test_raw_equals_finite_differences(rng, pref):
    ideal = np.array([0.0, 0.5, -1.0, 0.1])
    share = np.full(4, 0.25) if pref is None else np.array(pref)
    method = stch(0.3, "raw", pref=pref, ideal=ideal)
    for losses in rng.uniform(0.1, 5, (4, 4)):
        expected = derivative(lambda x: 0.3 * float(logsumexp(share * (x - ideal) / 0.3)), losses)
        found = update(method, losses, "float64")
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("mu", [0.2, 1.0, 4.0])
def test_log_equals_finite_differences(rng, mu):
    rows = rng.uniform(0.1, 5, (9, 3))
    found, end = steps(stch(mu, warmup_steps=4), rows)
    np.testing.assert_allclose(found[:4], 1 / rows[:4], rtol=1e-12)
    nadir = rows[:4].mean(axis=0)
    np.testing.assert_allclose(end.nadir, nadir, rtol=1e-12)
    for losses, weights in zip(rows[4:], found[4:], strict=True):
        expected = derivative(lambda x: 3 * mu * logsumexp(np.log(x / nadir) / mu), losses)
        np.testing.assert_allclose(weights, expected, rtol=1e-6, atol=1e-9)


def test_a_small_mu_leaves_the_largest_loss():
    losses = np.array([1.0, 3.0, 2.0])
    np.testing.assert_allclose(update(stch(1e-3, "raw"), losses), [0, 1 / 3, 0], atol=1e-6)
    rows = np.array([[1.0, 4.0, 2.0], losses])
    found, _ = steps(stch(1e-3, warmup_steps=1), rows)
    # Relative to the nadir the losses are 1, 3/4, 1.
    np.testing.assert_allclose(found[1], [1.5, 0, 0.75], atol=1e-9)


def test_all_tasks_wait_for_the_warm_up_of_a_new_one():
    rows = np.array([[2.0, 5.0], [4.0, 5.0], [8.0, 5.0], [8.0, 5.0], [8.0, 10.0]])
    here = np.array([[1, 0], [1, 0], [1, 1], [1, 1], [1, 1]], bool)
    found, end = steps(stch(warmup_steps=2), rows, mask=here)
    np.testing.assert_allclose(found[:4], np.where(here, 1 / rows, 0)[:4], rtol=1e-12)
    np.testing.assert_allclose(end.nadir, [3, 5], rtol=1e-12)
    shares = np.array([8 / 3, 2]) / (8 / 3 + 2)
    np.testing.assert_allclose(found[4], 2 * shares / rows[4], rtol=1e-12)


@pytest.mark.parametrize("size", [-1e30, -1.0, 0.0, 1e-30, 1.0, 1e30])
def test_equal_losses(size):
    np.testing.assert_allclose(update(RAW, np.full(3, size)), 1 / 9, rtol=1e-6)
    np.testing.assert_allclose(update(RAW, [size]), 1, rtol=1e-6)
    if size > 0:
        found, _ = steps(stch(warmup_steps=1), np.full((3, 2), size), dtype="float32")
        np.testing.assert_allclose(found, 1 / size, rtol=1e-4)  # float32 log of 1e30


def test_weights_have_the_unit_of_the_nadir_where_a_loss_is_not_finite():
    rows = np.array([[2.0, 5.0], [4.0, 5.0], [1.0, np.nan]])
    found, _ = steps(stch(warmup_steps=2), rows)
    np.testing.assert_allclose(found[2], [1 / 3, 0], rtol=1e-12)
    np.testing.assert_allclose(update(stch(), [1.0, np.nan]), [1, 0])
    pref = stch(form="raw", pref=[3.0, 1.0, 4.0])
    np.testing.assert_allclose(update(pref, [1.0, np.nan, 1.0]), [12 / 7, 0, 16 / 7], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda: stch(mu=0.0), ValueError, "mu"),
        (lambda: stch(form="other"), ValueError, "form"),
        (lambda: stch(warmup_steps=0), ValueError, "warmup_steps"),
        (lambda: stch(warmup_steps=0.5), TypeError, "warmup_steps"),
        (lambda: stch(pref=[1.0, 1.0]), ValueError, "pref"),
        (lambda: stch(ideal=1.0), ValueError, "ideal"),
        (lambda: stch(form="raw", pref=[-1.0, 1.0]), ValueError, "pref"),
        (lambda: stch(form="raw", ideal=np.inf), ValueError, "ideal"),
        (lambda: stch(form="raw", ideal="low"), TypeError, "ideal"),
        (lambda: stch(form="raw", ideal=[1.0, 2.0]).init(3), ValueError, "ideal"),
        (lambda: stch(form="raw", pref=[1.0, 2.0]).init(3), ValueError, "pref"),
    ],
)
def test_wrong_arguments_are_named(call, error, names):
    with pytest.raises(error, match=names):
        call()

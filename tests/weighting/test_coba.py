"""CoBa against a transcription that keeps lists and fits lines with NumPy."""

import numpy as np
import pytest

from mtljax.weighting.coba import coba
from tests.weighting.steps import softmax, steps

WINDOW, WARMUP, TAU = 5, 3, 2.0


METHOD = coba(WINDOW, WARMUP, TAU)


def slope(values):
    return np.polyfit(np.arange(len(values)), values, 1)[0] if len(values) > 1 else 0.0


def over(numerator, denominator):
    return numerator / denominator if np.all(denominator) else 0 * numerator


def transcript(rows):
    """Weights after each measurement."""
    tasks = rows.shape[1]
    ratios, alphas, worst, found = [], [], [], []
    for losses in rows:
        ratios.append(losses / rows[0])
        recent = np.array(ratios[-WINDOW:])
        if len(ratios) < WARMUP:
            found.append(np.full(tasks, 1 / tasks))
            continue
        alphas.append([slope(column) for column in recent.T])
        worst.append(slope(recent.max(axis=1)))
        history, largest = np.array(alphas[-WINDOW:]), np.array(worst[-WINDOW:])
        count = len(history)
        rate = softmax(over(tasks * history[-1], np.abs(history[-1]).sum()))
        own = softmax(over(-count * history[-1], np.abs(history).sum(axis=0)))
        exponents = over(-TAU * count * largest, np.abs(largest).sum())
        factor = min(1.0, count * softmax(exponents)[-1])
        weights = softmax(tasks * (factor * rate + (1 - factor) * own))
        found.append(weights * (1 - 0.1) + 0.1 / tasks)
    return np.stack(found)


@pytest.fixture
def validation(rng):
    """Falling at first, some tasks rising at the end."""
    time = np.arange(16)[:, None]
    curves = np.exp(-time / [2.0, 5.0, 20.0]) + np.array([0.03, 0.001, 0.0]) * time
    return 3 * curves * rng.uniform(0.95, 1.05, (16, 3))


def run(rows, dtype="float64", method=METHOD):
    return steps(method, np.ones(rows.shape), dtype=dtype, validation_losses=rows)


def test_equals_the_transcript(validation):
    expected = transcript(validation)
    assert np.ptp(expected[-1]) > 0.1
    np.testing.assert_allclose(run(validation)[0], expected, rtol=1e-9)
    # A slope is a difference of ratios near each other.
    np.testing.assert_allclose(run(validation, "float32")[0], expected, rtol=2e-3)


def test_the_losses_between_measurements_are_ignored(validation, rng):
    rows = rng.uniform(size=(46, 3))
    rows[::3] = validation
    found, end = run(rows, method=coba(WINDOW, WARMUP, TAU, update_every=3))
    np.testing.assert_allclose(found, np.repeat(transcript(validation), 3, axis=0)[:46], rtol=1e-9)
    assert end.step == 46 % 3


def test_a_task_counts_its_own_measurements(validation):
    here = np.ones(validation.shape, bool)
    here[[1, 2, 9, 10], 1] = False
    found, end = steps(METHOD, np.ones(here.shape), mask=here, validation_losses=validation)
    _, alone = run(validation[here[:, 1], 1:2])
    np.testing.assert_array_equal(end.tasks.values[1], alone.tasks.values[0])
    np.testing.assert_array_equal(end.tasks.slopes[1], alone.tasks.slopes[0])
    np.testing.assert_allclose(found[3], 1 / 3)  # its warm-up makes all wait
    here[:, 1] = False
    found, _ = steps(METHOD, np.ones(here.shape), mask=here, validation_losses=validation)
    np.testing.assert_allclose(found[:, ::2], run(validation[:, ::2])[0], rtol=1e-12)


@pytest.mark.parametrize("size", [-1.0, 0.0, 1e-38, 0.3, 1e30, 3e38])
def test_losses_that_do_not_change_have_equal_weights(size):
    found, _ = run(np.full((12, 3), size), "float32")
    np.testing.assert_allclose(found, 1 / 3, rtol=1e-6)


def test_losses_of_any_size(rng):
    rows = rng.choice([-3e38, -1.0, 0.0, 1e-38, 1e-30, 1.0, 1e30, 3e38], (12, 3))
    found, end = run(rows, "float32")
    assert np.isfinite(found).all() and (found >= 1 / 30 - 1e-6).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert np.isfinite(end.tasks.slopes).all() and np.isfinite(end.worst.slopes).all()
    np.testing.assert_allclose(run(rows[:, :1], "float32")[0], 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda: coba(window=1), ValueError, "window"),
        (lambda: coba(warmup=1), ValueError, "warmup"),
        (lambda: coba(tau=0.0), ValueError, "tau"),
        (lambda: coba(update_every=0), ValueError, "update_every"),
        (lambda: coba(window=2.5), TypeError, "window"),
        (lambda: coba().update(np.ones(2), coba().init(2)), ValueError, "validation_losses"),
    ],
)
def test_wrong_arguments_are_named(call, error, names):
    with pytest.raises(error, match=names):
        call()

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mtljax.aggregation import trimmed_mean
from mtljax.aggregation.trimmed_mean import _comparators


@functools.cache
def compiled(tasks, trim):
    method = trimmed_mean(tasks, trim=trim)
    params = {"wide": np.zeros(10, np.float32), "narrow": np.zeros(10, jnp.bfloat16)}
    return method.init(params), jax.jit(method.update)


def directions(rows, trim, mask=True):
    """Of rows ``[T, 10]`` as float32, and as bfloat16."""
    state, update = compiled(len(rows), trim)
    grads = {"wide": rows.astype(np.float32), "narrow": rows.astype(jnp.bfloat16)}
    found, _ = update(grads, state, mask=np.zeros(len(rows), bool) | mask)
    assert found["narrow"].dtype == jnp.bfloat16
    return np.asarray(found["wide"], float), np.asarray(found["narrow"], float)


@pytest.mark.parametrize(
    ("tasks", "trim"), [(1, 0), (3, 1), (4, 1), (5, 2), (9, 3), (48, 0), (48, 1), (48, 6), (33, 16)]
)
def test_equals_scipy(tasks, trim, rng):
    rows = rng.normal(size=(tasks, 10))
    rows[:, 3] = rng.integers(0, 2, size=tasks)  # ties
    wide, _ = directions(rows, trim)
    expected = stats.trim_mean(rows.astype(np.float32), trim / tasks + 1e-9, axis=0)
    np.testing.assert_allclose(wide, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("tasks", "trim"), [(5, 2), (48, 6)])
def test_few_tasks_left_have_their_median(tasks, trim, rng):
    rows = rng.normal(size=(tasks, 10))
    for number in range(2 * trim + 1):
        mask = np.arange(tasks) < number
        rng.shuffle(mask)
        wide, _ = directions(rows, trim, mask)
        expected = np.median(rows[mask], axis=0) if number else np.zeros(10)
        np.testing.assert_allclose(wide, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("trim", [0, 1, 6])
def test_many_tasks_ties_and_absent_ones(trim, rng):
    """Above the number of tasks that a network sorts: small integers, of which many are equal."""
    rows = rng.integers(-2, 3, size=(48, 10)).astype(float)
    rows[:, 0], rows[:, 1] = 1, np.arange(48) == 5
    rows[3] = [np.nan, np.inf] * 5
    mask = rng.random(48) < 0.7
    wide, narrow = directions(rows, trim, mask)
    left = np.sort(rows[mask & (np.arange(48) != 3)], axis=0)
    expected = left[trim : len(left) - trim].mean(0)
    np.testing.assert_allclose(wide, expected, rtol=1e-6, atol=1e-6)
    # The mean is rounded to the dtype of the gradients.
    np.testing.assert_allclose(narrow, expected, rtol=4e-3, atol=1e-6)


@pytest.mark.parametrize("wires", range(1, 11))
def test_the_network_sorts(wires):
    """By the zero-one principle: a network that sorts all bits sorts all numbers."""
    bits = np.array(list(itertools.product([0, 1], repeat=wires))).T.copy()
    for low, high in _comparators(wires):
        bits[[low, high]] = np.minimum(bits[low], bits[high]), np.maximum(bits[low], bits[high])
    assert (np.diff(bits, axis=0) >= 0).all()


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="trim"):
        trimmed_mean(4, trim=2)
    with pytest.raises(ValueError, match="trim"):
        trimmed_mean(4, trim=-1)
    with pytest.raises(TypeError, match="trim"):
        trimmed_mean(4, trim=0.5)

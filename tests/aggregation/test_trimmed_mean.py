import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mtljax.aggregation import trimmed_mean
from mtljax.aggregation.trimmed_mean import _comparators


@pytest.mark.parametrize(
    ("tasks", "trim"), [(1, 0), (3, 1), (4, 1), (5, 2), (9, 3), (40, 0), (40, 1), (40, 7), (33, 16)]
)
def test_equals_scipy(tasks, trim, rng, tree, params, flat):
    rows = rng.normal(size=(tasks, 10))
    rows[:, 3] = rng.integers(0, 2, size=tasks)  # ties
    method = trimmed_mean(tasks, trim=trim)
    direction, _ = jax.jit(method.update)(tree(rows, jnp.float32), method.init(params))
    expected = stats.trim_mean(rows.astype(np.float32), trim / tasks + 1e-9, axis=0)
    np.testing.assert_allclose(flat(direction), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("tasks", "trim"), [(5, 2), (40, 3)])
def test_few_tasks_left_have_their_median(tasks, trim, rng, tree, params, flat):
    rows = rng.normal(size=(tasks, 10))
    method = trimmed_mean(tasks, trim=trim)
    update, state, grads = jax.jit(method.update), method.init(params), tree(rows, jnp.float32)
    for number in range(2 * trim + 1):
        mask = np.arange(tasks) < number
        rng.shuffle(mask)
        direction, _ = update(grads, state, mask=mask)
        expected = np.median(rows[mask], axis=0) if number else np.zeros(10)
        np.testing.assert_allclose(flat(direction), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("trim", [0, 1, 6])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_many_tasks_ties_and_absent_ones(trim, dtype, rng, tree, params, flat):
    """Above the number of tasks that a network sorts: small integers, of which many are equal."""
    rows = rng.integers(-2, 3, size=(48, 10)).astype(float)
    rows[:, 0], rows[:, 1] = 1, np.arange(48) == 5
    rows[3] = [np.nan, np.inf] * 5
    mask = rng.random(48) < 0.7
    method = trimmed_mean(48, trim=trim)
    grads = tree(rows, dtype)
    direction, _ = jax.jit(method.update)(grads, method.init(params), mask=jnp.asarray(mask))
    left = np.sort(rows[mask & (np.arange(48) != 3)], axis=0)
    # The mean is rounded to the dtype of the gradients.
    tolerance = 4e-3 if dtype == jnp.bfloat16 else 1e-6
    expected = left[trim : len(left) - trim].mean(0)
    np.testing.assert_allclose(flat(direction), expected, rtol=tolerance, atol=1e-6)


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

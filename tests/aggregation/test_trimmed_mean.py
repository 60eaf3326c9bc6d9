import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mtljax.aggregation import trimmed_mean
from mtljax.aggregation.trimmed_mean import _comparators


@pytest.mark.parametrize(("tasks", "trim"), [(1, 0), (3, 1), (4, 1), (5, 2), (9, 3)])
def test_equals_scipy(tasks, trim, rng, tree, params, flat):
    rows = rng.normal(size=(tasks, 10))
    rows[:, 3] = rng.integers(0, 2, size=tasks)  # ties
    method = trimmed_mean(tasks, trim=trim)
    direction, _ = jax.jit(method.update)(tree(rows, jnp.float32), method.init(params))
    expected = stats.trim_mean(rows.astype(np.float32), trim / tasks + 1e-9, axis=0)
    np.testing.assert_allclose(flat(direction), expected, rtol=1e-5, atol=1e-6)


def test_few_tasks_left_have_their_median(rng, tree, params, flat):
    rows = rng.normal(size=(5, 10))
    method = trimmed_mean(5, trim=2)
    for number in (1, 2, 3, 4):
        mask = jnp.arange(5) < number
        direction, _ = method.update(tree(rows, jnp.float32), method.init(params), mask=mask)
        expected = np.median(rows[:number], axis=0)
        np.testing.assert_allclose(flat(direction), expected, rtol=1e-5, atol=1e-6)


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

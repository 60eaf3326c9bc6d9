"""Projections of the gradients themselves, in the same orders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.weighting.common.keys import random_orders
from mtljax.weighting.pcgrad import pcgrad
from tests.weighting.padded import NUMBERS_OF_TASKS, answers, problems, unit, weights
from tests.weighting.visits import orders

SEVENTH = pcgrad(7)


def update(gramian, state=None, seed=0):
    size = len(gramian)
    method = pcgrad(seed)
    state = method.init(size) if state is None else state
    found, state = compiled(np.float32(gramian), state)
    return np.asarray(found), state


@jax.jit
def compiled(gramian, state):
    return SEVENTH.update(jnp.ones(len(gramian)), state, gramian=gramian)


def surgery(rows, visits):
    """The sum of the changed gradients. Unit rows where only signs and ratios matter."""
    units, norms = unit(rows)
    total = np.zeros(rows.shape[1])
    for task, order in enumerate(visits):
        changed = units[task].copy()
        for other in order:
            if other != task and changed @ units[other] < 0:
                changed -= (changed @ units[other]) * units[other]
        total += norms[task] * changed
    return total


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
def test_equals_projections_of_the_gradients(dtype, tolerance):
    cases = problems(NUMBERS_OF_TASKS[0]) + problems(NUMBERS_OF_TASKS[1])
    visits = orders(pcgrad(7).init(1).key, 50)
    for case, w in zip(cases, weights(SEVENTH, cases, dtype), strict=True):
        size = len(case.rows)
        expected = surgery(case.rows, [row[row < size] for row in visits[:size]])
        # What is left of gradients that cancel is rounding of their lengths.
        longest = np.linalg.norm(case.rows, axis=1).max()
        error = np.linalg.norm(case.rows.T @ w - expected)
        assert error <= tolerance * max(np.linalg.norm(expected), longest), case.name


def test_orders_are_uniform_and_independent():
    keys = jax.random.split(jax.random.key(0), 3000)
    drawn = np.asarray(jax.vmap(lambda key: random_orders(key, 3))(keys))
    assert (np.sort(drawn, axis=2) == [0, 1, 2]).all()
    codes = drawn @ [9, 3, 1]  # of one of the 6 orders
    for row in codes.T:
        counts = np.unique(row, return_counts=True)[1]
        assert len(counts) == 6 and (np.abs(counts - 500) < 5 * 20).all()
    assert np.mean(codes[:, 0] == codes[:, 1]) == pytest.approx(1 / 6, abs=0.04)


def test_the_key_moves_and_resumes(rng):
    rows = rng.normal(size=(6, 8))
    rows -= 0.97 * rows.mean(0)
    gramian = rows @ rows.T
    first, state = update(gramian, seed=3)
    second, end = update(gramian, state)
    assert (first != second).any()
    again, _ = update(gramian, jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), state))
    np.testing.assert_array_equal(again, second)
    np.testing.assert_array_equal(update(gramian, seed=jax.random.key(3))[0], first)
    assert end.key.dtype == jnp.uint32


def test_degenerate_answers(rng):
    rows = np.abs(rng.normal(size=(5, 7))) * 10 ** rng.uniform(-9, 9, (5, 1))
    gramians = [
        [[16.0]],
        np.zeros((3, 3)),
        rows @ rows.T,
        [[1.0, -1.0], [-1.0, 4.0]],
        [[1.0, -3.0], [-3.0, 9.0]],
        [[1.0, 0.0, -1.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 4.0]],
    ]
    *harmless, pair, opposite, with_zero = answers(SEVENTH, gramians, size=50)
    for w in harmless:
        np.testing.assert_array_equal(w, 1)
    np.testing.assert_allclose(pair, [2, 1.25], rtol=1e-6)
    np.testing.assert_allclose(opposite @ [1, -3], 0, atol=1e-6)
    np.testing.assert_allclose(with_zero, [2, 1, 1.25], rtol=1e-6)


def test_finite_for_norms_of_all_sizes():
    gramian = np.array([[1.0, -0.5], [-0.5, 1.0]])
    for scale in ([1e-30, 1e30], [1.0, 1.0], [1e30, 1e-30]):
        (w,) = answers(SEVENTH, [gramian], size=50, row_scale=np.array(scale))
        assert np.isfinite(w).all() and (w >= 1).all()


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match="integer"):
        pcgrad(0.5)

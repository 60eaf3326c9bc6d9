"""Scores formed from the gradients' distances."""

import functools

import numpy as np
import pytest

from mtljax.weighting.krum import krum
from tests.weighting.padded import answers, problems, weights

made = functools.cache(krum)


def update(gramian, *args, mask=True, dtype="float32"):
    return answers(made(*args), [gramian], dtype, mask=mask)[0]


def scores(rows, byzantine):
    distances = ((rows[:, None] - rows) ** 2).sum(2)
    np.fill_diagonal(distances, np.inf)
    return np.sort(distances, axis=1)[:, : len(rows) - byzantine - 2].sum(1)


@pytest.mark.parametrize(
    ("byzantine", "selected", "dtype", "gap"),
    [(1, 1, "float64", 1e-9), (2, 3, "float64", 1e-9), (0, 2, "float32", 1e-4)],
)
def test_equals_the_distances_of_the_gradients(byzantine, selected, dtype, gap):
    """Where the score that is in and the one that is out differ by more than rounding."""
    cases = problems((5, 10)) + problems((20, 50))[::6]
    compared = 0
    for case, w in zip(cases, weights(made(byzantine, selected), cases, dtype), strict=True):
        score = scores(case.rows, byzantine)
        order = np.argsort(score, kind="stable")
        longest = (case.rows**2).sum(1).max()
        if score[order[selected]] - score[order[selected - 1]] <= gap * longest:
            continue
        compared += 1
        expected = np.zeros(len(score))
        expected[order[:selected]] = 1 / selected
        np.testing.assert_allclose(w, expected, rtol=1e-6, err_msg=case.name)
    assert compared > 20


def test_ties_go_to_the_lowest_index():
    rows = np.array([[9.0, 0.0], [0.0, 1.0], [0.0, 1.1], [5.0, 5.0]])  # 1 and 2 are mutual
    np.testing.assert_array_equal(update(rows @ rows.T), [0, 1, 0, 0])
    np.testing.assert_allclose(update(np.ones((5, 5)), 1, 2), [0.5, 0.5, 0, 0, 0])
    np.testing.assert_allclose(update(np.zeros((4, 4))), 0.25)


@pytest.mark.parametrize("byzantine", [0, 1, 3, 6])
def test_equal_distances_are_left_out_one_by_one(byzantine, rng):
    """Points of a small grid, of whose distances many are equal."""
    for _ in range(10):
        rows = rng.integers(0, 3, size=(9, 2)).astype(float) + [1, 0]
        chosen = update(rows @ rows.T, byzantine, dtype="float64").argmax()
        expected = scores(rows, byzantine)
        assert expected[chosen] <= expected.min() + 1e-9


def test_close_gradients_are_told_apart(rng):
    """Differences of 1e-2 of their length, in float32."""
    rows = 1 + 1e-2 * rng.normal(size=(6, 40))
    best = scores(rows, 1).argmin()
    assert update(rows @ rows.T)[best] == 1


def test_absent_tasks_do_not_count(rng):
    rows = rng.normal(size=(6, 3))
    mask = np.array([True, True, False, True, True, True])
    found = update(rows @ rows.T, mask=mask)
    assert found[2] == 0
    np.testing.assert_array_equal(found[mask], update(rows[mask] @ rows[mask].T))
    few = np.array([True, True, False, False, False, False])
    np.testing.assert_allclose(update(rows @ rows.T, 1, 3, mask=few), [0.5, 0.5, 0, 0, 0, 0])
    alone = np.arange(6) == 4
    np.testing.assert_array_equal(update(rows @ rows.T, mask=alone), alone)


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda: krum(-1), ValueError, "num_byzantine"),
        (lambda: krum(0.5), TypeError, "num_byzantine"),
        (lambda: krum(1, 0), ValueError, "num_selected"),
        (lambda: krum(1).init(3), ValueError, "num_byzantine"),
        (lambda: krum(0, 4).init(3), ValueError, "num_selected"),
    ],
)
def test_wrong_arguments_are_named(call, error, names):
    with pytest.raises(error, match=names):
        call()

"""Gradients of the log losses, normalised."""

import numpy as np
import pytest

from mtljax.weighting.db_mtl import db_mtl
from tests.weighting.padded import NUMBERS_OF_TASKS, answers, problems, unit, weights

DEFAULT = db_mtl()


def update(losses, squares, **options):
    return answers(DEFAULT, [np.diag(squares)], losses=losses, size=50, **options)[0]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-4)])
def test_equals_normalised_gradients_of_the_logarithms(dtype, tolerance):
    cases = problems(NUMBERS_OF_TASKS[0]) + problems(NUMBERS_OF_TASKS[1])
    for case, w in zip(cases, weights(DEFAULT, cases, dtype, losses=0.3), strict=True):
        if not case.rows.any():
            np.testing.assert_array_equal(w, 1)
            continue
        logs = case.rows / 0.3
        lengths = np.linalg.norm(logs, axis=1)
        expected = lengths.max() * unit(logs)[0].sum(0)
        error = np.linalg.norm(case.rows.T @ w - expected)
        assert error <= tolerance * lengths.max() * len(lengths), case.name


def test_neither_losses_nor_norms_matter(rng):
    losses, norms = rng.uniform(0.1, 5, 4), rng.uniform(0.1, 5, 4)
    scale = np.array([1e-6, 1.0, 1e6, 3.0])
    found = update(scale * losses, (scale * norms) ** 2)
    np.testing.assert_allclose(found * scale, update(losses, norms**2), rtol=1e-5)
    expected = (norms / losses).max() / norms
    np.testing.assert_allclose(update(losses, norms**2), expected, rtol=1e-5)


def test_degenerate_answers():
    np.testing.assert_allclose(update([4.0], [9.0]), 0.25)
    np.testing.assert_allclose(update([2.0, 1.0, 1.0], [16.0, 0.0, 1.0]), [0.5, 0, 2])
    np.testing.assert_allclose(update([2.0, 0.0, -1.0], [16.0, 100.0, 100.0]), [0.5, 0, 0])
    np.testing.assert_array_equal(update([1.0, 0.0], [0.0, 1.0]), 1)
    mask = np.array([True, False])
    np.testing.assert_allclose(update([2.0, 1e-3], [16.0, 100.0], mask=mask), [0.5, 0])
    for scale in ([1e-30, 1e30], [1e30, 1e30]):
        assert (update([1e-30, 1.0], [1.0, 1.0], row_scale=scale) > 0).all()

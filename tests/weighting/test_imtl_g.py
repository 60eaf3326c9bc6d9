"""Equal projections, against a least-squares solution in the space of the gradients."""

import numpy as np
import pytest

from mtljax.weighting.imtl_g import imtl_g
from tests.weighting.padded import NUMBERS_OF_TASKS, answers, conflict, problems, unit, weights


def equal_projections(rows):
    """The x of least norm with <u_i, x> = 1, scaled by the weights that make it; no zero rows."""
    units, norms = unit(rows)
    x = np.linalg.lstsq(units, np.ones(len(rows)), rcond=None)[0]
    v = np.linalg.lstsq(units.T, x, rcond=None)[0] / norms
    total = max(v.sum(), 0.1 * np.abs(v).sum())
    return v / total, x / total


DEFAULT = imtl_g()


@pytest.mark.parametrize(
    # A Gramian in float32 holds singular values to a part of 6e-8 / s^2 of their own.
    ("dtype", "smallest", "tolerance", "noise"),
    [("float64", 1e-3, 1e-6, 1e-12), ("float32", 0.2, 1e-3, 1e-5)],
)
def test_equals_least_squares(dtype, smallest, tolerance, noise):
    cases = problems(NUMBERS_OF_TASKS[0]) + problems(NUMBERS_OF_TASKS[1])
    compared = 0
    for case, w in zip(cases, weights(DEFAULT, cases, dtype), strict=True):
        assert conflict(case.rows, w) > -noise, case.name
        assert np.abs(w).sum() < 10.01
        present = case.rows.any(1)
        assert (w[~present] == 0).all() or not present.any()
        rows = case.rows[present]
        if not rows.size or np.linalg.svd(unit(rows)[0], compute_uv=False)[-1] < smallest:
            continue
        compared += 1
        reference, expected = equal_projections(rows)
        error = np.linalg.norm(case.rows.T @ w - expected)
        assert error < tolerance * np.linalg.norm(expected), case.name
        np.testing.assert_allclose(w[present], reference, atol=10 * tolerance)
    assert compared >= 10


def test_dependent_gradients():
    """Identical, parallel, opposite, in a plane: the limits of singular cosines."""
    norms = np.array([1.0, 2.0, 5.0])
    plane = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, -1.0]])  # no equal projections but zero
    gramians = [np.ones((4, 4)), np.outer(norms, norms), [[1, -3], [-3, 9]], plane @ plane.T]
    identical, parallel, opposite, flat = answers(DEFAULT, gramians, size=50)
    np.testing.assert_allclose(identical, 0.25, rtol=1e-5)
    np.testing.assert_allclose(parallel, 1 / norms / (1 / norms).sum(), rtol=1e-5)
    np.testing.assert_allclose(opposite, [0.75, 0.25], rtol=1e-5)
    np.testing.assert_allclose(plane.T @ flat, 0, atol=1e-5)
    assert flat.sum() == pytest.approx(1)


def test_where_the_formula_of_the_paper_ascends():
    """Three unit gradients: the one between the others needs a negative weight."""
    rows = np.array([[1.0, 0.0, 0.05], [0.0, 1.0, 0.05], [1.0, 1.0, 0.0]])
    rows[2] *= 0.1 / np.linalg.norm(rows[2])
    y = np.linalg.solve((unit(rows)[0]) @ unit(rows)[0].T, np.ones(3))
    v = y / np.linalg.norm(rows, axis=1)
    assert v.sum() < 0
    paper = rows.T @ (v / v.sum())
    assert (rows @ paper < 0).all()
    (w,) = answers(DEFAULT, [rows @ rows.T], size=50)
    assert (rows @ (rows.T @ w) > 0).all()
    assert np.abs(w).sum() == pytest.approx(10, rel=1e-3)


def test_degenerate_answers():
    gramians = [[[16.0]], np.zeros((2, 2)), np.diag([4.0, 0.0, 1.0])]
    one, zero, with_zero = answers(DEFAULT, gramians, size=50)
    assert one == pytest.approx(1)
    np.testing.assert_allclose(zero, 0.5)
    np.testing.assert_allclose(with_zero, [1 / 3, 0, 2 / 3], rtol=1e-6)


def test_norms_may_lie_outside_of_what_can_be_squared():
    (w,) = answers(DEFAULT, [np.eye(2)], size=50, row_scale=np.array([1e-30, 1e30]))
    np.testing.assert_allclose(w, [1, 0], atol=1e-6)

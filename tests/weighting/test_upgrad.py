import numpy as np
import pytest

from mtljax.weighting.upgrad import upgrad
from tests.weighting.oracles import error, into_dual_cone, table
from tests.weighting.padded import conflict, problems, unit, weights


def projected(rows, pref):
    units, norms = unit(rows)
    each = [into_dual_cone(rows, row) for row in units]
    return (pref * norms) @ np.array(each)


DEFAULT = upgrad()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-3)])
def test_is_the_mean_of_projections(dtype, tolerance):
    # A part of the largest problems: each has as many right-hand sides as tasks.
    cases = problems((1, 2, 3, 5, 10)) + problems((20, 50))[::5]
    for case, found in zip(cases, weights(DEFAULT, cases, dtype), strict=True):
        expected = projected(case.rows, np.full(len(case.rows), 1 / len(case.rows)))
        assert error(case.rows, found, expected) <= tolerance, case.name
        assert conflict(case.rows, found) >= (-1e-12 if dtype == "float64" else -1e-5), case.name


def test_preference():
    cases = problems((3,))
    pref = np.array([0.0, 2.0, 0.5])
    for case, found in zip(cases, weights(upgrad(pref), cases, "float64", size=3), strict=True):
        assert error(case.rows, found, projected(case.rows, pref)) <= 1e-10, case.name


def test_degenerate():
    cases = [
        ([[3.0]], [1]),
        ([[0.0]], [1]),
        ([[1, 0], [0, 2]], [0.5, 0.5]),
        ([[1, 2], [1, 2]], [0.5, 0.5]),
        ([[1], [-1]], [1, 1]),
        ([[1, 0], [0, 0]], [0.5, 0.5]),
        ([[0, 0], [0, 0]], [0.5, 0.5]),
    ]
    found = weights(DEFAULT, table(*(rows for rows, _ in cases)), "float32", size=50)
    for each, (rows, expected) in zip(found, cases, strict=True):
        np.testing.assert_allclose(each, expected, rtol=1e-6, err_msg=str(rows))


def test_wrong_arguments():
    with pytest.raises(ValueError, match="pref"):
        upgrad([0.0, 0.0])
    with pytest.raises(ValueError, match="pref"):
        upgrad([1.0, 2.0]).init(3)

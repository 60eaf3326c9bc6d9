import numpy as np
import pytest

from mtljax.weighting.dual_proj import dual_proj
from tests.weighting.oracles import error, every_problem, into_dual_cone, table
from tests.weighting.padded import answers, conflict, problems, weights

DEFAULT = dual_proj()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-3)])
def test_is_the_nearest_direction_without_conflict(dtype, tolerance):
    cases = every_problem()
    for case, found in zip(cases, weights(DEFAULT, cases, dtype), strict=True):
        expected = into_dual_cone(case.rows, case.rows.mean(0))
        assert error(case.rows, found, expected) <= tolerance, case.name
        assert conflict(case.rows, found) >= (-1e-12 if dtype == "float64" else -1e-5), case.name


def test_preference():
    cases = problems((3,))
    pref = np.array([0.0, 2.0, 0.5])
    for case, found in zip(cases, weights(dual_proj(pref), cases, "float64", size=3), strict=True):
        expected = into_dual_cone(case.rows, pref @ case.rows)
        assert error(case.rows, found, expected) <= 1e-10, case.name


def test_degenerate():
    cases = [
        ([[3.0]], [1]),
        ([[0.0]], [1]),
        ([[1, 0], [0, 2]], [0.5, 0.5]),
        ([[1, 2], [1, 2]], [0.5, 0.5]),
        ([[1], [-1]], [0.5, 0.5]),
        ([[1], [-3]], [1.5, 0.5]),
        ([[1, 0], [0, 0]], [0.5, 0.5]),
        ([[0, 0], [0, 0]], [0.5, 0.5]),
    ]
    found = weights(DEFAULT, table(*(rows for rows, _ in cases)), "float32", size=50)
    for each, (rows, expected) in zip(found, cases, strict=True):
        np.testing.assert_allclose(each, expected, rtol=1e-6, err_msg=str(rows))


def test_uniform_preference_is_none():
    rows = np.random.default_rng(1).normal(size=(4, 3))
    (uniform,) = answers(dual_proj([0.25] * 4), [rows @ rows.T], size=4)
    (none,) = answers(DEFAULT, [rows @ rows.T], size=50)
    np.testing.assert_allclose(uniform, none, rtol=1e-5)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="pref"):
        dual_proj([-1.0, 2.0])
    with pytest.raises(ValueError, match="pref"):
        dual_proj([1.0, 2.0]).init(3)

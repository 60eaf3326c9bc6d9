import jax
import numpy as np
import pytest

from mtljax.weighting.mgda import mgda
from tests.weighting.oracles import error, every_problem, shortest, table
from tests.weighting.padded import conflict, problems, unit, weights

DEFAULT = mgda()


# Two tasks alone are solved in closed form.
@pytest.mark.parametrize("size", [50, 2])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-3)])
def test_is_the_shortest_convex_combination(size, dtype, tolerance):
    cases = every_problem() if size == 50 else problems((1, 2))
    for case, found in zip(cases, weights(DEFAULT, cases, dtype, size=size), strict=True):
        assert error(case.rows, found, shortest(case.rows)) <= tolerance, case.name
        assert (found >= 0).all() and found.sum() == pytest.approx(1, rel=1e-5), case.name
        assert conflict(case.rows, found) >= (-1e-12 if dtype == "float64" else -1e-5), case.name


DEGENERATE = [
    ([[3.0]], [1]),
    ([[0.0]], [1]),
    ([[1, 0], [0, 2]], [0.8, 0.2]),
    ([[1, 2], [1, 2]], [0.5, 0.5]),
    ([[1], [-3]], [0.75, 0.25]),
    ([[1, 0], [0, 0]], [0, 1]),
    ([[0, 0], [0, 0]], [0.5, 0.5]),
    ([[1, 2]] * 5, [0.2] * 5),
    ([[1], [2], [5]], [1, 0, 0]),
    ([[1, 0], [0, 0], [0, 1], [0, 0]], [0, 0.5, 0, 0.5]),
]


@pytest.mark.parametrize("size", [50, 2])
def test_degenerate(size):
    cases = [case for case in DEGENERATE if len(case[0]) <= size]
    found = weights(DEFAULT, table(*(rows for rows, _ in cases)), "float32", size=size)
    for each, (rows, expected) in zip(found, cases, strict=True):
        np.testing.assert_allclose(each, expected, rtol=1e-6, atol=1e-7, err_msg=str(rows))


@pytest.mark.parametrize("normalize", ["l2", "loss+"])
def test_normalized(normalize):
    cases = problems((3, 5))
    found = weights(mgda(normalize), cases, "float64", losses=0.3)
    for case, each in zip(cases, found, strict=True):
        _, norms = unit(case.rows)
        if not norms.all():
            np.testing.assert_allclose(np.linalg.norm(case.rows.T @ each), 0)
            continue
        scale = {"l2": norms, "loss+": norms * 0.3}[normalize]
        assert error(case.rows, each, shortest(case.rows / scale[:, None])) <= 1e-10, case.name


def test_normalized_by_losses_of_all_signs():
    rows = np.array([[1.0, 0.2], [-0.5, 3.0]])
    update = jax.jit(mgda("loss").update)

    def direction(*losses):
        found, _ = update(np.float32(losses), (), gramian=np.float32(rows @ rows.T))
        return rows.T @ found

    losses = np.array([0.1, 20.0])
    np.testing.assert_allclose(direction(*losses), shortest(rows / losses[:, None]), rtol=1e-5)
    np.testing.assert_allclose(direction(0.0, -1.0), direction(1.0, 1.0), rtol=1e-6)
    found = direction(0.0, 1.0)
    assert np.isfinite(found).all()
    assert (rows @ found >= -1e-5 * np.linalg.norm(found)).all()


def test_wrong_arguments():
    with pytest.raises(ValueError, match="normalize"):
        mgda("norm")

"""Aligned principal components, against the singular value decomposition of the Jacobian."""

import numpy as np
import pytest

from mtljax.weighting.aligned_mtl import aligned_mtl
from tests.weighting.oracles import singular_values
from tests.weighting.padded import NUMBERS_OF_TASKS, answers, problems, unit, weights

METHODS = {scale: aligned_mtl(scale) for scale in ("min", "median", "rmse")}


def aligned(rows, scale, pref, rank):
    """The direction, and how long it is where pref lies in the range."""
    left, values, right = singular_values(rows)
    left, values, right = left[:, :rank], values[:rank], right[:rank]
    length = {
        "min": values[-1],
        "median": values[rank - 1 - (rank - 1) // 2],
        "rmse": np.sqrt(np.mean(values**2)),
    }[scale]
    return length * right.T @ (left.T @ pref), length * np.linalg.norm(pref)


@pytest.mark.parametrize("scale", METHODS)
def test_equals_the_singular_value_decomposition(scale):
    """Where the rank of the unit gradients is clear: their cosines hold the squares.

    So the part `low` of the largest singular value must be well above eps^1/2, and what counts as
    zero below. Norms may be as far apart as they like.
    """
    cases = problems(NUMBERS_OF_TASKS[0])
    if scale == "min":  # the reference of 50 tasks takes a second
        cases += problems(NUMBERS_OF_TASKS[1])[::4]
    limits = {"float64": (1e-4, 1e-10, 1e-6), "float32": (0.05, 1e-6, 1e-3)}
    for dtype, (low, zero, tolerance) in limits.items():
        if dtype == "float32" and scale != "min":  # another factor, by the same eigenvalues
            continue
        compared = 0
        for case, w in zip(cases, weights(METHODS[scale], cases, dtype), strict=True):
            values = np.linalg.svd(unit(case.rows)[0], compute_uv=False)
            if not case.rows.any():
                np.testing.assert_allclose(w, 1 / len(w))
                continue
            ratios = values / values[0]
            if ((ratios < low) & (ratios > zero)).any():
                continue
            compared += 1
            size = len(case.rows)
            expected, longest = aligned(
                case.rows, scale, np.full(size, 1 / size), (ratios >= low).sum()
            )
            error = np.linalg.norm(case.rows.astype(np.longdouble).T @ w - expected)
            assert error < tolerance * longest, (case.name, dtype)
        assert compared > len(cases) / 4


NORMS_FAR_APART = (
    (0.08, 7.0, 820.0),
    (1e-6, 1.0, 1e6),
    (1e-6, 1e-3, 1.0, 1e3, 1e6),
    tuple(np.logspace(0, 4, 5)),
    tuple(np.logspace(0, 4, 10)),
    tuple(np.logspace(0, 6, 8)),
    tuple(np.logspace(0, 3, 8)),
    (1e-6, 1e6, 1e6, 1e-6),
)


@pytest.mark.parametrize(
    ("dtype", "scale", "tolerance"),
    [
        ("float32", "min", 1e-4),
        ("float32", "median", 1e-4),
        ("float64", "min", 1e-11),
        ("float64", "rmse", 1e-11),
    ],
)
def test_norms_far_apart_in_any_order(rng, dtype, scale, tolerance):
    problems_in_orders = []
    for norms in NORMS_FAR_APART:
        size = len(norms)
        rows = (rng.normal(size=(size, 30)) * np.array(norms)[:, None]).astype(dtype)
        expected, _ = aligned(rows, scale, np.full(size, 1 / size), size)
        for order in (np.arange(size), np.arange(size)[::-1], rng.permutation(size)):
            problems_in_orders.append((norms, rows[order].astype(np.longdouble), expected))
    gramians = [(rows @ rows.T).astype(float) for _, rows, _ in problems_in_orders]
    found = answers(METHODS[scale], gramians, dtype, size=50 if scale == "min" else 10)
    for (norms, rows, expected), w in zip(problems_in_orders, found, strict=True):
        error = np.linalg.norm((rows.T @ w - expected).astype(float))
        assert error < tolerance * np.linalg.norm(expected.astype(float)), norms


def test_dependent_gradients_with_norms_far_apart(rng):
    """Two identical ones and one shorter by six decades, in each order."""
    one, other = np.linalg.qr(rng.normal(size=(9, 2)))[0].T
    rows = np.array([one, one, 1e-6 * (0.6 * one + 0.8 * other)])
    expected, longest = aligned(rows, "min", np.full(3, 1 / 3), 2)
    orders = [[0, 1, 2], [2, 0, 1], [0, 2, 1]]
    gramians = [rows[order] @ rows[order].T for order in orders]
    found = answers(METHODS["min"], gramians, "float32", size=50)
    for order, w in zip(orders, found, strict=True):
        assert np.linalg.norm(rows[order].T @ w - expected) < 2e-2 * longest


def test_preference(rng):
    rows = rng.normal(size=(3, 6))
    gramian = rows @ rows.T
    pref = np.array([0.5, 0.0, 2.0])
    w, averaged, zero = answers(
        aligned_mtl(pref=pref), [gramian, np.ones((3, 3)), np.zeros((3, 3))], size=3
    )
    np.testing.assert_allclose(rows.T @ w, aligned(rows, "min", pref, 3)[0], rtol=1e-4)
    np.testing.assert_allclose(averaged, 2.5 / 3, rtol=1e-5)
    np.testing.assert_array_equal(zero, pref)
    uniform = answers(aligned_mtl(pref=[1 / 3] * 3), [gramian], size=3)
    (none,) = answers(METHODS["min"], [gramian], size=50)
    np.testing.assert_allclose(uniform[0], none, rtol=1e-6)


def test_degenerate_answers():
    opposite = np.array([[1.0, -1.0], [-1.0, 1.0]])
    gramians = [[[16.0]], np.eye(3), np.ones((4, 4)), opposite, np.diag([1.0, 0.0, 1.0])]
    one, orthonormal, identical, against, with_zero = answers(METHODS["min"], gramians, size=50)
    assert one == pytest.approx(1)
    np.testing.assert_allclose(orthonormal, 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(identical, 1 / 4, rtol=1e-5)
    np.testing.assert_allclose(against, 0, atol=1e-6)
    np.testing.assert_allclose(with_zero, [1 / 3, 0, 1 / 3], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: aligned_mtl("max"), "scale"),
        (lambda: aligned_mtl(pref=[-1.0, 2.0]), "pref"),
        (lambda: aligned_mtl(pref=[1.0, 2.0]).init(3), "pref"),
    ],
)
def test_wrong_arguments_are_named(call, names):
    with pytest.raises(ValueError, match=names):
        call()

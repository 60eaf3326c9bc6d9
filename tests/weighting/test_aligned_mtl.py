"""Aligned principal components, against the singular value decomposition of the Jacobian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.weighting.aligned_mtl import aligned_mtl
from tests.weighting.padded import NUMBERS_OF_TASKS, answers, problems, weights


def update(method, gramian, **kwargs):
    size = len(gramian)
    run = jax.jit(lambda g: method.update(jnp.ones(size), method.init(size), gramian=g, **kwargs))
    return np.asarray(run(jnp.asarray(gramian, float))[0])


def aligned(rows, scale, pref, rank):
    """The direction, and how long it is where pref lies in the range."""
    left, values, right = np.linalg.svd(rows, full_matrices=False)
    left, values, right = left[:, :rank], values[:rank], right[:rank]
    ascending = np.sort(values)
    length = {
        "min": ascending[0],
        "median": ascending[(rank - 1) // 2],
        "rmse": np.sqrt(np.mean(values**2)),
    }[scale]
    return length * right.T @ (left.T @ pref), length * np.linalg.norm(pref)


@pytest.mark.parametrize(
    ("numbers", "scale"),
    [(NUMBERS_OF_TASKS[0], scale) for scale in ("min", "median", "rmse")]
    + [(NUMBERS_OF_TASKS[1], "min")],
)
def test_equals_the_singular_value_decomposition(numbers, scale):
    """Where the rank is clear: the Gramian holds the squares of the singular values.

    So the part `low` of the largest one must be well above eps^1/2, and what counts as zero
    below.
    """
    cases = problems(numbers)
    limits = {"float64": (1e-4, 1e-10, 1e-6), "float32": (0.05, 1e-6, 1e-3)}
    for dtype, (low, zero, tolerance) in limits.items():
        if dtype == "float32" and scale != "min":  # another factor, by the same eigenvalues
            continue
        compared = 0
        for case, w in zip(cases, weights(aligned_mtl(scale), cases, dtype), strict=True):
            values = np.linalg.svd(case.rows, compute_uv=False)
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
            error = np.linalg.norm(case.rows.T @ w - expected)
            assert error < tolerance * longest, (case.name, dtype)
        assert compared > len(cases) / 4


def test_preference(rng):
    rows = rng.normal(size=(3, 6))
    pref = np.array([0.5, 0.0, 2.0])
    w = update(aligned_mtl(pref=pref), rows @ rows.T)
    np.testing.assert_allclose(rows.T @ w, aligned(rows, "min", pref, 3)[0], rtol=1e-4)
    uniform = update(aligned_mtl(pref=[1 / 3] * 3), rows @ rows.T)
    np.testing.assert_array_equal(uniform, update(aligned_mtl(), rows @ rows.T))


def test_degenerate_answers():
    opposite = np.array([[1.0, -1.0], [-1.0, 1.0]])
    gramians = [[[16.0]], np.eye(3), np.ones((4, 4)), opposite, np.diag([1.0, 0.0, 1.0])]
    one, orthonormal, identical, against, with_zero = answers(aligned_mtl(), gramians)
    assert one == pytest.approx(1)
    np.testing.assert_allclose(orthonormal, 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(identical, 1 / 4, rtol=1e-5)
    np.testing.assert_allclose(against, 0, atol=1e-6)
    np.testing.assert_allclose(with_zero, [1 / 3, 0, 1 / 3], rtol=1e-6)
    averaged, zero = answers(aligned_mtl(pref=[1.0, 3.0]), [np.ones((2, 2)), np.zeros((2, 2))])
    np.testing.assert_allclose(averaged, 2, rtol=1e-5)
    np.testing.assert_array_equal(zero, [1, 3])


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

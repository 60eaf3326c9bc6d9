"""Wanted cosines, against the pseudo-inverse of the unit gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.gradients import scaled_gramian
from mtljax.weighting.conflict_free import config
from tests.weighting.padded import NUMBERS_OF_TASKS, answers, conflict, problems, unit, weights

DEFAULT = config()


def conflict_free(rows, pref, cutoff):
    """The direction of the paper, 0 where no part of pref can be had, and what it sums."""
    units, _ = unit(rows)
    x = np.linalg.pinv(units, rcond=cutoff) @ pref
    if np.linalg.norm(units @ x) < 1e-6 * np.linalg.norm(pref):
        return 0 * x, np.linalg.norm(rows)
    x = x / np.linalg.norm(x)
    return (rows @ x).sum() * x, np.abs(rows @ x).sum()


@pytest.mark.parametrize(
    # Singular values s of the unit gradients are held by the cosines to eps / s^2 of their own.
    ("dtype", "low", "zero", "tolerance"),
    [("float64", 1e-3, 1e-9, 1e-6), ("float32", 0.1, 1e-5, 1e-3)],
)
def test_equals_the_pseudo_inverse(dtype, low, zero, tolerance):
    cases = problems(NUMBERS_OF_TASKS[0]) + problems(NUMBERS_OF_TASKS[1])
    compared = 0
    for case, w in zip(cases, weights(DEFAULT, cases, dtype), strict=True):
        if not case.rows.any():
            np.testing.assert_array_equal(w, 1)
            continue
        units, norms = unit(case.rows)
        values = np.linalg.svd(units, compute_uv=False)
        ratios = values / values[0]
        if ((ratios < low) & (ratios > zero)).any():
            continue
        compared += 1
        expected, summed = conflict_free(case.rows, np.ones(len(norms)), np.sqrt(low * zero))
        error = np.linalg.norm(case.rows.T @ w - expected)
        # The projections can cancel: their sum is as exact as they are.
        assert error <= tolerance * summed, case.name
        if (norms > 0).all() and ratios[-1] > low and len(norms) <= case.rows.shape[1]:
            assert conflict(case.rows, w) > -1e-5
    assert compared > len(cases) / 4


@jax.jit
def compiled(rows, mask):
    gramian, scale = scaled_gramian(rows)
    options = {"gramian": gramian, "row_scale": scale, "mask": mask}
    return DEFAULT.update(jnp.ones(len(rows)), (), **options)[0]


def of_gradients(rows):
    """The weights of ConFIG for gradients ``[T, P]``; one program for up to 20 of up to 1000."""
    padded = np.zeros((20, 1000), np.float32)
    padded[: rows.shape[0], : rows.shape[1]] = rows
    found = compiled(padded, np.arange(20) < len(rows))
    return np.asarray(found, float)[: len(rows)]


@pytest.mark.parametrize("decades", [0, 3])
@pytest.mark.parametrize(
    # With unequal parts of 0.03 the singular values of the unit gradients span 100 to 1.
    ("size", "width", "unequal"),
    [(3, 20, 1), (5, 50, 0.3), (5, 50, 0.1), (5, 50, 0.03), (10, 40, 0.1), (20, 1000, 0.1)],
)
def test_float32_gradients_give_the_direction_of_their_pseudo_inverse(
    rng, size, width, unequal, decades
):
    common = rng.normal(size=width) if unequal < 1 else 0
    rows = common + unequal * rng.normal(size=(size, width))
    rows *= 10 ** rng.uniform(0, decades, (size, 1))
    rows = rows.astype(np.float32)
    expected, _ = conflict_free(rows.astype(float), np.ones(size), 1e-9)
    for order in (np.arange(size), np.arange(size)[::-1]):
        w = of_gradients(rows[order])
        error = np.linalg.norm(rows[order].T.astype(float) @ w - expected)
        assert error < 2e-5 * np.linalg.norm(expected)


def test_float32_gradients_that_are_nearly_dependent(rng):
    """The error is that of a float32 Gramian up to where it counts them as dependent."""
    eps = np.finfo(np.float32).eps
    beyond = 0
    for unequal in np.repeat([0.03, 0.01, 0.003], 15):
        rows = rng.normal(size=50) + unequal * rng.normal(size=(5, 50))
        rows = rows.astype(np.float32)
        expected, _ = conflict_free(rows.astype(float), np.ones(5), 1e-9)
        w = of_gradients(rows)
        error = np.linalg.norm(rows.T.astype(float) @ w - expected) / np.linalg.norm(expected)
        condition = np.linalg.cond(unit(rows.astype(float))[0])
        if condition < 0.9 / np.sqrt(4 * 5 * eps):
            assert error < eps * condition
        else:
            beyond += 1
            assert error < 5e-3
    assert 5 < beyond < 40


def test_preference(rng):
    rows = rng.normal(size=(3, 6)) * np.array([[1.0], [20.0], [0.3]])
    pref = np.array([1.0, 0.0, 3.0])
    direction = rows.T @ answers(config(pref), [rows @ rows.T], size=3)[0]
    np.testing.assert_allclose(direction, conflict_free(rows, pref, 1e-9)[0], rtol=1e-3)
    cosines = unit(rows)[0] @ direction / np.linalg.norm(direction)
    np.testing.assert_allclose(cosines / cosines[0], pref, atol=1e-4)
    (uniform,) = answers(config([0.3] * 3), [rows @ rows.T], size=3)
    (none,) = answers(DEFAULT, [rows @ rows.T], size=50)
    np.testing.assert_allclose(uniform, none, rtol=1e-5)


def test_degenerate_answers():
    star = np.array([[1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]])
    gramians = [
        [[16.0]],
        np.ones((2, 2)),
        np.diag([4.0, 1.0]),
        np.diag([4.0, 0.0]),
        [[1.0, -3.0], [-3.0, 9.0]],
        star @ star.T,
        np.zeros((3, 3)),
    ]
    one, identical, orthogonal, with_zero, opposite, flat, zero = answers(
        DEFAULT, gramians, size=50
    )
    assert one == pytest.approx(1)
    np.testing.assert_allclose(identical, 1, rtol=1e-5)
    np.testing.assert_allclose(orthogonal, [0.75, 1.5], rtol=1e-6)
    np.testing.assert_allclose(with_zero, [1, 0], rtol=1e-6)
    np.testing.assert_array_equal(opposite, 0)
    np.testing.assert_allclose(star.T @ flat, 0, atol=1e-5)
    np.testing.assert_array_equal(zero, 1)


def test_norms_may_be_far_apart():
    (w,) = answers(DEFAULT, [np.eye(2)], size=50, row_scale=np.array([1e-15, 1e15]))
    np.testing.assert_allclose(w, [5e29, 0.5], rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: config([0.0, 0.0]), "pref"),
        (lambda: config([1.0, 2.0]).init(3), "pref"),
        (lambda: answers(config([1.0, 2.0]), [np.eye(1)], size=1), "pref"),
    ],
)
def test_wrong_arguments_are_named(call, names):
    with pytest.raises(ValueError, match=names):
        call()

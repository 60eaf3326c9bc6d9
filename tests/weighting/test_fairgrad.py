"""Alpha-fair weights against a maximisation over directions, and against their equation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.weighting.fairgrad import fairgrad
from mtljax.weighting.nash_mtl import nash_mtl
from tests.weighting.fair_direction import fair_direction, inner_direction
from tests.weighting.padded import NUMBERS_OF_TASKS, answers, conflict, problems, unit, weights


@functools.partial(jax.jit, static_argnames="pref")
def compiled(alpha, gramian, mask, pref):
    size = len(gramian)
    method = fairgrad(alpha, pref)
    return method.update(jnp.ones(size), method.init(size), gramian=gramian, mask=mask)[0]


def update(alpha, gramian, mask, pref):
    """The weights; all alphas share a compiled program."""
    return np.asarray(compiled(alpha, np.float32(gramian), mask, pref))


@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_equals_the_best_direction(alpha):
    """And keeps its equation, formed from the Jacobian, where norms are too far apart for that."""
    cases = problems(NUMBERS_OF_TASKS[0])
    if alpha == 2:
        cases += problems(NUMBERS_OF_TASKS[1])
    exact = weights(fairgrad, cases, "float64", options=(alpha,), size=50)
    short = weights(fairgrad, cases, "float32", options=(alpha,), size=50)
    compared = 0
    for case, w, w32 in zip(cases, exact, short, strict=True):
        units, norms = unit(case.rows)
        here = norms > 0
        if not here.any():
            continue
        d = case.rows.T @ w
        assert (w[here] > 0).all() and (w[~here] == 0).all()
        bound = np.sum(w[here] ** (1 - 1 / alpha)) ** 0.5
        assert np.linalg.norm(d) < (1 + 1e-6) * bound + 1e-12 * (w @ norms), case.name
        if inner_direction(units[here]) is None:
            continue
        assert conflict(case.rows, w) > -1e-12, case.name
        # Relative to what a gain is summed from: that of a short row may be a small difference.
        gap = (units @ d)[here] - w[here] ** (-1 / alpha) / norms[here]
        assert np.abs(gap).max() < 1e-7 * (w @ norms), case.name
        if norms[here].max() < 1e3 * norms[here].min():
            compared += 1
            shares = np.where(here, norms, 1) ** (1 - alpha)
            expected = fair_direction(units, shares, alpha)
            length = np.linalg.norm(expected)
            assert np.linalg.norm(d - expected) < 1e-6 * length, case.name
            assert np.linalg.norm(case.rows.T @ w32 - expected) < 1e-3 * length, case.name
    assert compared > len(cases) / 4


def test_alpha_one_is_nash_without_its_length(rng):
    rows = rng.normal(size=(4, 7)) * 10 ** rng.uniform(-4, 4, (4, 1))
    gramian = (rows @ rows.T).astype(np.float32)
    # Written out as the default, not as an argument of a compiled function.
    (found,), (nash,) = answers(fairgrad(), [gramian]), answers(nash_mtl(None), [gramian])
    np.testing.assert_allclose(found, nash, rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_preference(rng, alpha):
    rows = rng.normal(size=(3, 6)) * np.array([[0.1], [1.0], [4.0]])
    gramian = rows @ rows.T
    power = np.array([0.5, 1.5, 1.0])
    units, norms = unit(rows)
    there = np.array([True, True, True])
    # Only ratios of the preference matter.
    found = rows.T @ update(alpha, gramian, there, pref=(1.0, 3.0, 2.0))
    expected = fair_direction(units, power * norms ** (1 - alpha), alpha)
    assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)
    uniform = update(alpha, gramian, there, pref=(0.1, 0.1, 0.1))
    (none,) = answers(fairgrad, [gramian], options=(alpha,), size=50)
    np.testing.assert_allclose(uniform, none, rtol=1e-5)
    # Of the tasks that are present only their own ratios count.
    there[2] = False
    masked = update(alpha, gramian, there, pref=(1.0, 3.0, 2.0))
    power = np.array([0.5, 1.5])
    expected = fair_direction(units[:2], power * norms[:2] ** (1 - alpha), alpha)
    found = rows.T @ masked
    assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)
    assert masked[2] == 0


@pytest.mark.parametrize("alpha", [0.2, 0.5, 2.0])
def test_closed_forms_and_degenerate_answers(alpha):
    norms = np.array([1e-3, 1.0, 50.0])
    gramians = [
        np.diag(norms**2),
        np.full((3, 3), 4.0),
        np.zeros((2, 2)),
        np.diag([64.0, 0.0]),
        [[1.0, -1.0], [-1.0, 1.0]],
    ]
    orthogonal, identical, zero, with_zero, opposite = answers(
        fairgrad, gramians, options=(alpha,), size=50
    )
    power = -2 * alpha / (1 + alpha)
    np.testing.assert_allclose(orthogonal, norms**power, rtol=1e-4)
    # m identical rows of norm n: m n^2 w = w^(-1/alpha).
    np.testing.assert_allclose(identical, 12 ** (power / 2), rtol=1e-4)
    np.testing.assert_allclose(zero, 0.5)
    np.testing.assert_allclose(with_zero, [8**power, 0], rtol=1e-5)
    assert opposite[0] == pytest.approx(opposite[1], rel=1e-5)


@pytest.mark.parametrize("alpha", [0.01, 100.0])
def test_finite_for_norms_of_all_sizes(alpha):
    gramian = [[1.0, -0.5, 0.1], [-0.5, 1.0, 0.0], [0.1, 0.0, 1.0]]
    scale = np.array([1e-30, 1.0, 1e30])
    (w,) = answers(fairgrad, [gramian], options=(alpha,), size=50, row_scale=scale)
    assert (w > 0).all()


def test_alpha_zero_is_the_sum_of_the_gains():
    method = fairgrad(0.0, [1.0, 3.0, 2.0])
    assert method.requires == {"losses"}
    found, _ = jax.jit(method.update)(np.ones(3), method.init(3))
    np.testing.assert_allclose(found, [0.5, 1.5, 1.0], rtol=1e-6)
    gramian = ((1.0, -0.2, 0.1), (-0.2, 4.0, 0.3), (0.1, 0.3, 2.0))
    near = update(1e-3, gramian, np.ones(3, bool), pref=(1.0, 3.0, 2.0))
    np.testing.assert_allclose(found, near, rtol=1e-2)
    np.testing.assert_array_equal(jax.jit(fairgrad(0.0).update)(np.ones(2), ())[0], [1, 1])


def test_wrong_arguments_are_named():
    for alpha in (-1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="alpha"):
            fairgrad(alpha)
    for pref in ([1.0, 0.0], [1.0, -1.0], [1.0, np.inf]):
        with pytest.raises(ValueError, match="pref"):
            fairgrad(pref=pref)
    with pytest.raises(ValueError, match="pref"):
        fairgrad(pref=[1.0, 2.0]).init(3)

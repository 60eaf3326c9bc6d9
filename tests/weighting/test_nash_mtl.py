"""The bargaining solution against a maximisation over directions."""

import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.weighting.nash_mtl import nash_mtl
from mtljax.weighting.wrappers import every, needs_gradients
from tests.weighting.fair_direction import fair_direction
from tests.weighting.padded import NUMBERS_OF_TASKS, answers, conflict, problems, unit, weights

DEFAULT = nash_mtl()
UNBOUNDED = nash_mtl(None)


def answer(method, gramian, **options):
    return answers(method, [gramian], **options)[0]


def test_equals_the_best_direction():
    """Conflicting with none; without a solution, the direction is bounded."""
    cases = problems(NUMBERS_OF_TASKS[0]) + problems(NUMBERS_OF_TASKS[1])
    expected = [fair_direction(unit(case.rows)[0]) for case in cases]
    assert sum(d is not None for d in expected) > len(cases) / 2
    for dtype, tolerance in (("float64", 1e-6), ("float32", 1e-3)):
        for case, d, w in zip(cases, expected, weights(DEFAULT, cases, dtype), strict=True):
            # Opposite gradients are balanced to the ridge, 4 m eps.
            noise = 5 * (10 if len(w) <= 10 else 50) * np.finfo(dtype).eps
            assert (w >= 0).all()
            assert conflict(case.rows, w) > -noise, case.name
            found, summed = case.rows.T @ w, np.linalg.norm(case.rows, axis=1) @ w
            assert np.linalg.norm(found) < 1 + 1e-3 + noise * summed, case.name
            if d is not None:
                assert np.linalg.norm(found - d / np.linalg.norm(d)) < tolerance, case.name


def test_without_max_norm_the_squared_length_is_the_number_of_tasks(rng):
    rows = rng.normal(size=(5, 9)) * 10 ** rng.uniform(-3, 3, (5, 1))
    gramian = rows @ rows.T
    w = answer(UNBOUNDED, gramian)
    assert np.linalg.norm(rows.T @ w) == pytest.approx(5**0.5, rel=1e-4)
    np.testing.assert_allclose(w * (rows @ (rows.T @ w)), 1, rtol=1e-3)
    half, large = (answer(nash_mtl, gramian, options=(bound,)) for bound in (0.5, 3.0))
    assert np.linalg.norm(rows.T @ half) == pytest.approx(0.5)
    # Larger than the length: no effect, since it only scales down.
    np.testing.assert_allclose(large, w, rtol=1e-6)


def test_preference(rng):
    rows = rng.normal(size=(3, 6))
    gramian = rows @ rows.T
    method = nash_mtl(None, pref=[1.0, 3.0, 2.0])
    w = answer(method, gramian, size=3)
    expected = fair_direction(unit(rows)[0], np.array([0.5, 1.5, 1.0]))
    np.testing.assert_allclose(rows.T @ w, expected, rtol=1e-4)
    # Of the tasks that are present only their own ratios count.
    two = answer(method, gramian[:2, :2], size=3)
    expected = fair_direction(unit(rows[:2])[0], np.array([0.5, 1.5]))
    np.testing.assert_allclose(rows[:2].T @ two, expected, rtol=1e-4)
    uniform = answer(nash_mtl(pref=[0.1] * 3), gramian, size=3)
    np.testing.assert_allclose(uniform, answer(DEFAULT, gramian, size=50), rtol=1e-5)


def test_every(rng):
    """The same as the wrapper around it."""
    rows = rng.normal(size=(3, 2, 6))
    inside, around = nash_mtl(every=2), every(nash_mtl(), 2)
    states = inside.init(2), around.init(2)
    for each in rows:
        gramian = jnp.asarray(each @ each.T)
        (found, one), (expected, two) = (
            method.update(jnp.ones(2), state, gramian=gramian)
            for method, state in zip((inside, around), states, strict=True)
        )
        np.testing.assert_array_equal(found, expected)
        states = one, two
    assert bool(needs_gradients(states[0])) == bool(needs_gradients(states[1])) is False


def test_degenerate_answers():
    gramians = [
        [[16.0]],
        np.ones((4, 4)),
        np.zeros((2, 2)),
        np.diag([4.0, 0.0, 1.0]),
        [[1.0, -3.0], [-3.0, 9.0]],
    ]
    one, identical, zero, with_zero, opposite = answers(DEFAULT, gramians, size=50)
    assert one == pytest.approx(0.25)
    np.testing.assert_allclose(identical, 0.25, rtol=1e-5)
    np.testing.assert_allclose(zero, 0.5)
    np.testing.assert_allclose(with_zero, [0.5**1.5, 0, 0.5**0.5], rtol=1e-5)
    assert opposite[0] == pytest.approx(3 * opposite[1]) and opposite[1] > 1


def test_a_gramian_that_is_not_finite():
    w = answer(DEFAULT, [[np.nan, 0.0], [0.0, 1.0]], size=50)
    np.testing.assert_array_equal(w, [0, 1])


def test_norms_may_lie_outside_of_what_can_be_squared():
    scale = np.array([1e-30, 1e30])
    w = answer(UNBOUNDED, [[1.0, 0.5], [0.5, 1.0]], row_scale=scale)
    np.testing.assert_allclose(w * scale, 1.5**-0.5, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda: nash_mtl(max_norm=0.0), ValueError, "max_norm"),
        (lambda: nash_mtl(pref=[1.0, 0.0]), ValueError, "pref"),
        (lambda: nash_mtl(every=0), ValueError, "every must"),
        (lambda: nash_mtl(pref=["much"]), TypeError, "pref"),
        (lambda: nash_mtl(pref=[1.0, 2.0]).init(3), ValueError, "pref"),
        (lambda: answer(nash_mtl(pref=[1.0, 2.0]), np.eye(1), size=1), ValueError, "pref"),
    ],
)
def test_wrong_arguments_are_named(call, error, names):
    with pytest.raises(error, match=names):
        call()

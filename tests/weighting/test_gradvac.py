"""The vaccine on the gradients themselves, over several steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.weighting.gradvac import gradvac
from mtljax.weighting.pcgrad import pcgrad
from tests.weighting.jacobians import jacobians
from tests.weighting.padded import unit, walks
from tests.weighting.visits import orders

SIZE = 20
FIFTH = gradvac(0.3, seed=5)


def vaccine(rows, targets, visits, beta):
    """The sum of the changed gradients, and the new targets.

    Also the least norm that a changed unit gradient had: where it is rounding, so are cosines.
    """
    units, norms = unit(rows)
    total, new, least = np.zeros(rows.shape[1]), targets.copy(), 1.0
    for task, order in enumerate(visits):
        changed = units[task].copy()
        for other in order:
            if other == task:
                continue
            length = np.linalg.norm(changed)
            cosine, target = 0.0, targets[task, other]
            if norms[task] > 0 and norms[other] > 0:
                least = min(least, length)
                cosine = changed @ units[other] / length
                if cosine < target:
                    sine = np.sqrt(1 - min(cosine**2, 1))
                    gain = target * sine - cosine * np.sqrt(1 - target**2)
                    changed = changed + length * gain / np.sqrt(1 - target**2) * units[other]
            new[task, other] = (1 - beta) * targets[task, other] + beta * cosine
        total += norms[task] * changed
    return total, new, least


@pytest.mark.parametrize(
    # A cosine near 1 has its sine to eps^1/2 only, where it is formed from a Gramian.
    ("num_tasks", "dtype", "tolerance", "clear"),
    [
        (1, "float64", 1e-6, 1e-3),
        (2, "float64", 1e-6, 1e-3),
        (5, "float64", 1e-6, 1e-3),
        (20, "float64", 1e-6, 1e-3),
        (5, "float32", 1e-3, 0.1),
    ],
)
def test_equals_the_vaccine_of_the_gradients(num_tasks, dtype, tolerance, clear):
    stack = jacobians(num_tasks).rows
    # Other gradients at each step, as targets are of the past.
    steps = [stack, np.roll(stack, 1, axis=2) + stack, 0.3 * stack + np.roll(stack, 2, axis=2)]
    walk = walks(FIFTH, [rows @ rows.transpose(0, 2, 1) for rows in steps], dtype, SIZE)
    trail, key = [], FIFTH.init(1).key
    for w, states in walk:
        visits = [row[row < num_tasks] for row in orders(key, SIZE)[:num_tasks]]
        trail.append((visits, w.astype(float), states.targets[:, :num_tasks, :num_tasks]))
        key = states.key[0]
    compared = 0
    for case in range(len(stack)):
        targets = np.zeros((num_tasks, num_tasks))
        for rows, (visits, w, found) in zip(steps, trail, strict=True):
            units = unit(rows[case])[0]
            flat = np.abs(units @ units.T - np.eye(num_tasks)).max() > 1 - 1e-4
            with np.errstate(all="ignore"):
                total, new, least = vaccine(rows[case], targets, visits, 0.3)
            if flat or not least > clear:  # parallel or opposite: the direction is rounding
                break
            compared += 1
            longest = np.linalg.norm(rows[case], axis=1).max()
            error = np.linalg.norm(rows[case].T @ w[case] - total)
            assert error <= tolerance * max(np.linalg.norm(total), longest)
            np.testing.assert_allclose(found[case], new, atol=tolerance)
            targets = new
    assert compared > len(stack)


def test_first_step_is_surgery(rng):
    rows = rng.normal(size=(6, 8)) * 10 ** rng.uniform(-9, 9, (6, 1))
    gramian, losses = jnp.asarray(rows @ rows.T), jnp.ones(6)
    vac, cut = gradvac(seed=2), pcgrad(seed=2)
    found, _ = jax.jit(vac.update)(losses, vac.init(6), gramian=gramian)
    expected, _ = jax.jit(cut.update)(losses, cut.init(6), gramian=gramian)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_targets_are_reached():
    """Two gradients at a right angle whose cosine is to be 1/2."""
    method = gradvac(beta=0.0)
    targets = jnp.array([[0.0, 0.5], [0.5, 0.0]])
    state = method.init(2)._replace(targets=targets)
    w, new = jax.jit(method.update)(jnp.ones(2), state, gramian=jnp.diag(jnp.array([4.0, 1.0])))
    # g_1 + 2 tan(30 deg) g_2 makes 60 degrees with g_2; so does g_2 with g_1.
    tangent = 3**-0.5
    np.testing.assert_allclose(w, [1 + tangent / 2, 1 + 2 * tangent], rtol=1e-5)
    np.testing.assert_array_equal(new.targets, targets)


def test_targets_follow_the_cosines():
    gramian = jnp.array([[1.0, 0.6, 0.0], [0.6, 1.0, 0.0], [0.0, 0.0, 0.0]])
    method = gradvac(beta=0.5)
    state = method.init(3)._replace(targets=jnp.full((3, 3), 0.4))
    w, state = jax.jit(method.update)(jnp.ones(3), state, gramian=gramian)
    np.testing.assert_array_equal(w, 1)
    expected = [[0.2, 0.5, 0.2], [0.5, 0.2, 0.2], [0.2, 0.2, 0.2]]
    np.testing.assert_allclose(state.targets, expected, rtol=1e-6)


def test_an_absent_task_keeps_its_targets():
    method = gradvac()
    state = method.init(3)._replace(targets=jnp.full((3, 3), 0.1))
    mask = jnp.array([True, False, True])
    gramian = jnp.array([[1.0, 9.0, -0.5], [9.0, 1.0, 9.0], [-0.5, 9.0, 1.0]])
    w, new = jax.jit(method.update)(jnp.ones(3), state, gramian=gramian, mask=mask)
    assert w[1] == 0
    np.testing.assert_array_equal(new.targets[1], state.targets[1])
    np.testing.assert_array_equal(new.targets[:, 1], state.targets[:, 1])
    assert new.targets[0, 2] == pytest.approx(0.5 * 0.1 - 0.5 * 0.5)


def test_degenerate_inputs_stay_finite_over_many_steps():
    cases = [
        np.ones((3, 3)),
        np.outer([1, -1, 1], [1, -1, 1]),
        np.zeros((3, 3)),
        1.5 * np.eye(3) - 0.5,
    ]
    method = gradvac()

    @jax.jit
    def run(gramian):
        return jax.lax.scan(
            lambda state, _: method.update(jnp.ones(3), state, gramian=gramian)[::-1],
            method.init(3),
            length=60,
        )

    for case in cases:
        state, w = run(jnp.asarray(case, float))
        assert np.isfinite(w).all() and np.abs(state.targets).max() <= 1
        if case[0, 0] == 0:
            np.testing.assert_array_equal(w, 1)


def test_wrong_arguments_are_named():
    for beta in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="beta"):
            gradvac(beta)

"""Rescaled directions, measured on the gradients themselves."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.weighting import equal, fixed
from mtljax.weighting.wrappers import rescale

EQUAL, SIGNED = equal(), fixed([1.0, -0.5, 0.0, 3.0])
LENGTHS = {
    "mean": lambda rows: np.linalg.norm(rows.mean(axis=0)),
    "sum": lambda rows: np.linalg.norm(rows.sum(axis=0)),
    "max": lambda rows: np.linalg.norm(rows, axis=1).max(),
    "primary": lambda rows: np.linalg.norm(rows[0]),
    0.3: lambda rows: 0.3,
}


@cache
def rescaled(inner):
    """One method for all lengths, so that they are one compiled program."""
    methods = [rescale(inner, to) for to in LENGTHS]

    def update(losses, state, **options):
        return [method.update(losses, state, **options)[0] for method in methods], state

    return inner._replace(update=update)


@cache
def compiled(method):
    return jax.jit(lambda losses, mask, given: method.update(losses, (), mask=mask, **given)[0])


def update(method, rows, mask=True, dtype="float64", size=4):
    """Of `size` tasks, the last ones absent."""
    with jax.enable_x64(dtype == "float64"):
        tasks = len(rows)
        norms = np.linalg.norm(rows, axis=1)
        scale = np.ones(size, dtype)
        scale[:tasks] = np.where(norms > 0, norms, 1)
        gramian, present = np.zeros((size, size), dtype), np.zeros(size, bool)
        units = rows / np.where(norms > 0, norms, 1)[:, None]
        gramian[:tasks, :tasks], present[:tasks] = units @ units.T, mask
        signals = {"gramian": gramian, "row_scale": scale}
        weights = compiled(method)(np.ones(size, dtype), present, signals)
        if isinstance(weights, list):
            return {
                to: np.asarray(w, float)[:tasks] for to, w in zip(LENGTHS, weights, strict=True)
            }
        return np.asarray(weights).astype(float)[:tasks]


@pytest.mark.parametrize("inner", [EQUAL, SIGNED])
def test_the_direction_keeps_its_line_and_has_the_length(rng, inner):
    rows = rng.normal(size=(4, 9)) * 10.0 ** np.array([-6, 0, 1, -1])[:, None]
    plain = rows.T @ update(inner, rows)
    for dtype, tolerance in (("float64", 1e-10), ("float32", 1e-5)):
        for to, weights in update(rescaled(inner), rows, dtype=dtype).items():
            expected = plain / np.linalg.norm(plain) * LENGTHS[to](rows)
            atol = tolerance * np.linalg.norm(expected)
            np.testing.assert_allclose(
                rows.T @ weights, expected, atol=atol, rtol=0, err_msg=f"{to}"
            )


def test_absent_tasks_do_not_count(rng):
    rows = rng.normal(size=(4, 6))
    mask = np.array([True, False, True, True])
    found, alone = update(rescaled(EQUAL), rows, mask), update(rescaled(EQUAL), rows[mask])
    for to in LENGTHS:
        np.testing.assert_allclose(found[to][mask], alone[to], rtol=1e-12, err_msg=f"{to}")


def test_degenerate_directions(rng):
    line = rng.normal(size=5)
    opposite = np.stack([line, -line])
    for rows in (opposite, np.zeros((2, 5))):
        for to, weights in update(rescaled(EQUAL), rows, dtype="float32").items():
            np.testing.assert_allclose(weights, 0.5, err_msg=f"{to}")
    none = update(rescale(fixed([1.0, 0.0]), "mean"), opposite, size=2)
    np.testing.assert_array_equal(none, 0)
    one = update(rescale(fixed([7.0]), "mean"), line[None], size=1)
    np.testing.assert_allclose(one, 1, rtol=1e-12)
    absent = update(rescale(fixed([7.0, 5.0]), "primary"), opposite, [False, True], size=2)
    np.testing.assert_array_equal(absent, [0, 5])


def test_norms_of_any_size(rng):
    rows = rng.normal(size=(3, 5)) * np.array([[1e-30], [1.0], [1e30]])
    for to, weights in update(rescaled(EQUAL), rows, dtype="float32").items():
        assert np.isfinite(weights).all()
        found = np.linalg.norm(rows.T @ weights)
        # The length of the first, 1e-30, would take weights of 1e-60.
        assert to == "primary" or found == pytest.approx(LENGTHS[to](rows), rel=1e-5)
    for size in (1e-30, 1e30):
        for to, weights in update(rescaled(EQUAL), rows[1:2] * size, dtype="float32").items():
            found = np.linalg.norm(rows[1] * size * weights)
            assert found == pytest.approx(LENGTHS[to](rows[1:2] * size), rel=1e-5)


def test_a_number_that_is_not_finite():
    method = rescale(fixed([1.0, 2.0]), "max")
    gramian = np.diag([np.nan, 4.0])
    found, _ = jax.jit(method.update)(np.ones(2), (), gramian=gramian)
    np.testing.assert_array_equal(found, [0, 2])


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="to must"):
        rescale(equal(), "min")
    with pytest.raises(ValueError, match="to must"):
        rescale(equal(), -1.0)
    with pytest.raises(ValueError, match="gramian"):
        rescale(equal()).update(jnp.ones(2), ())

"""FAMO against a transcription of the algorithm of the paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtljax.weighting.famo import famo
from tests.weighting.steps import Adam, assert_trees_equal, derivative, softmax, steps

NEXT = famo(post="next")


def transcript(before, after, lr, gamma, minima):
    """Weights for every step; after each, the logits follow the change of its log losses."""
    xi, adam, found = np.zeros(before.shape[1]), Adam(lr), []
    for now, then in zip(before, after, strict=True):
        z, excess = softmax(xi), now - minima
        found.append(z / excess / np.sum(z / excess))
        fall = np.log(excess) - np.log(then - minima)
        # The gradient of sum_i softmax(xi)_i fall_i, the fall being constant.
        slope = derivative(lambda x, fall=fall: softmax(x) @ fall, xi)
        xi = xi + adam.step(slope + gamma * xi)
    return np.stack(found)


@pytest.mark.parametrize(("gamma", "minima"), [(1e-3, 0.0), (0.2, [0.0, 0.05, -1.0, 0.1])])
def test_equals_the_transcript(rng, gamma, minima):
    before = rng.uniform(0.2, 5, (12, 4))
    after = before * rng.uniform(0.8, 1.05, (12, 4))
    given = np.concatenate([rng.uniform(0.2, 5, (1, 4)), after[:-1]])  # the first is ignored
    found, _ = steps(famo(0.05, gamma, minima), before, losses_after=given)
    expected = transcript(before, after, 0.05, gamma, np.array(minima))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    # Without the losses after the step those of the next batch stand in.
    found, _ = steps(famo(0.05, gamma, minima, post="next"), before)
    expected = transcript(before[:-1], before[1:], 0.05, gamma, np.array(minima))
    np.testing.assert_allclose(found[:-1], expected, rtol=1e-6)


def test_weights_are_those_of_a_sum_of_log_losses(rng):
    losses, minima = rng.uniform(1, 5, 3), np.array([0.1, 0.0, 0.9])
    method = famo(min_losses=minima, post="next")
    state = method.init(3)._replace(logits=np.array([0.3, -1.0, 0.2], np.float32))
    weights, _ = jax.jit(method.update)(losses, state)
    z = softmax(np.array([0.3, -1.0, 0.2]))
    slopes = derivative(lambda x: z @ np.log(x - minima), losses)
    np.testing.assert_allclose(weights, slopes / slopes.sum(), rtol=1e-5)


def test_the_unit_of_a_loss_does_not_matter(rng):
    rows = rng.uniform(0.2, 5, (6, 3))
    units = np.array([1e-20, 1.0, 1e20])
    found, _ = steps(NEXT, rows)
    scaled, _ = steps(NEXT, rows * units)
    weighted = found * rows / np.sum(found * rows, axis=1, keepdims=True)
    other = scaled * rows * units
    np.testing.assert_allclose(other / other.sum(axis=1, keepdims=True), weighted, rtol=1e-9)


def test_a_task_that_was_absent_does_not_move(rng):
    rows = rng.uniform(0.2, 5, (5, 3))
    here = np.ones((5, 3), bool)
    here[[1, 3], 2] = False  # never twice in a row present
    _, end = steps(NEXT, rows, mask=here)
    assert end.logits[2] == 0 and end.adam.count[2] == 0 and (end.adam.count[:2] == 4).all()
    _, alone = steps(NEXT, rows[:, :2])
    np.testing.assert_allclose(end.logits[:2], alone.logits, rtol=1e-12)


def test_a_step_that_is_not_finite_is_left_out():
    update, losses = jax.jit(famo().update), np.array([1.0, 2.0])
    _, state = update(losses, famo().init(2), losses_after=np.ones(2))
    weights, after = update(losses, state, losses_after=np.array([np.nan, 1.0]))
    np.testing.assert_array_equal(weights, [0, 1])
    assert_trees_equal(after, state)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([0.0, 1.0], [1, 0]),
        ([-1.0, -1.0], [0.5, 0.5]),
        ([0.0, 0.0], [0.5, 0.5]),
        ([1e-30, 1e30], [1, 0]),
        ([3e38, 3e38], [0.5, 0.5]),
        ([-2.0, -1.0], [1 / 3, 2 / 3]),  # floors are 1e-6 of the sizes
    ],
)
def test_degenerate_losses(losses, expected):
    found, end = steps(NEXT, np.tile(losses, (3, 1)), dtype="float32")
    np.testing.assert_allclose(found, [expected] * 3, atol=1e-5)
    assert np.isfinite(end.logits).all()


@pytest.mark.parametrize(
    ("call", "error", "names"),
    [
        (lambda: famo(lr=0.0), ValueError, "lr"),
        (lambda: famo(gamma=-1.0), ValueError, "gamma"),
        (lambda: famo(post="before"), ValueError, "post"),
        (lambda: famo(min_losses="low"), TypeError, "min_losses"),
        (lambda: famo(min_losses=[[1.0]]), ValueError, "min_losses"),
        (lambda: famo(min_losses=[1.0]).init(2), ValueError, "min_losses"),
        (lambda: famo().update(jnp.ones(2), famo().init(2)), ValueError, "losses_after"),
    ],
)
def test_wrong_arguments_are_named(call, error, names):
    with pytest.raises(error, match=names):
        call()

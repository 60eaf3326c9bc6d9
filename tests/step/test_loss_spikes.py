"""Losses that are spikes, in steps of plain losses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtljax import weighting
from mtljax.step import train_step
from mtljax.step.loss_spikes import SEEN, after, initial, limits, spiked
from mtljax.step.state import Memory

NAMES = ("a", "b")
RATE = 0.125
BOTH = jnp.ones(2, bool)


def loss(place, params, batch):
    """Linear in its parameter, so that its gradient is 1, at a height that the batch says."""
    return batch["heights"][place] + params["w"][place]


LOSSES = {name: lambda p, b, place=place: loss(place, p, b) for place, name in enumerate(NAMES)}
HEIGHTS = np.random.default_rng(0).normal(5, 1, (SEEN + 1, 2)).astype(np.float32)
SPIKE = np.array([5.0, 50.0], np.float32)


@jax.jit
def one_more(state, losses, present=BOTH):
    return after(state, losses, present, limits(state, 6.0))


def usual_of(values):
    state = initial(2)
    for value in values:
        state = one_more(state, value)
    return state


def test_early_on_it_is_the_mean_and_deviation_of_all_losses():
    state = usual_of(HEIGHTS)
    np.testing.assert_allclose(state.mean, HEIGHTS.mean(0), rtol=1e-5)
    np.testing.assert_allclose(state.variance, HEIGHTS.var(0), rtol=1e-4)
    np.testing.assert_allclose(limits(state, 6.0), HEIGHTS.mean(0) + 6 * HEIGHTS.std(0), rtol=1e-5)
    assert np.isinf(limits(usual_of(HEIGHTS[: SEEN - 1]), 6.0)).all()
    assert np.isinf(limits(usual_of(np.ones((SEEN + 5, 2), np.float32)), 6.0)).all()


def test_later_it_forgets_as_a_moving_mean_does():
    values = np.random.default_rng(1).normal(0, 1, (200, 2)).astype(np.float32)
    mean, second = values[:50].mean(0), (values[:50] ** 2).mean(0)
    for value in values[50:]:
        mean, second = (0.98 * old + 0.02 * new for old, new in ((mean, value), (second, value**2)))
    state = usual_of(values)
    np.testing.assert_allclose(state.mean, mean, atol=1e-5)
    np.testing.assert_allclose(state.variance, second - mean**2, rtol=1e-4)


def test_what_is_a_spike_and_a_rise_that_lasts_is_not_for_long():
    state = usual_of(HEIGHTS)
    high, bounds = jnp.array([99.0, 99.0]), limits(state, 6.0)
    assert spiked(high, BOTH, bounds).tolist() == [True, True]
    assert spiked(high, jnp.array([True, False]), bounds).tolist() == [True, False]
    for value in (-high, high * jnp.nan, high * jnp.inf, bounds):
        assert not spiked(value, BOTH, bounds).any()
    # One moves what is usual by what its limit would; what is absent or not finite, not at all.
    np.testing.assert_array_equal(
        np.stack(one_more(state, high)), np.stack(one_more(state, bounds))
    )
    for value, there in ((high * jnp.nan, BOTH), (high, ~BOTH)):
        np.testing.assert_array_equal(np.stack(one_more(state, value, there)), np.stack(state))
    number = 0
    while spiked(high, BOTH, limits(state, 6.0)).any() and number < 30:
        state, number = one_more(state, high), number + 1
    assert 1 < number < 20


def run(method, **settings):
    """States and metrics of the step before a spike of task b, of the spike, and of one after."""
    step = train_step(LOSSES, method, optax.sgd(RATE), **settings)
    state, found = step.init({"w": jnp.zeros(2)}, {"heights": HEIGHTS[0]}), []
    update = jax.jit(step.update)
    for heights in (*HEIGHTS, SPIKE, HEIGHTS[0]):
        state, metrics = update(state, {"heights": heights})
        found.append((state, metrics))
    return found[-3:]


def moved(before, now):
    return ((before.params["w"] - now.params["w"]) / RATE).tolist()


PLAIN = weighting.fixed([1.0, 1.0])


@pytest.mark.parametrize("method", [PLAIN, weighting.mgda()])
def test_a_spike_is_left_out_of_its_step(method):
    before, at, later = run(method, loss_spikes="leave_out")
    assert at[1].spiked.tolist() == [0.0, 1.0] and at[1].losses[1] > 40
    # Task a alone, as if b were absent; then both again.
    assert moved(before[0], at[0]) == [1.0, 0.0] and at[1].weights[1] == 0
    assert later[1].spiked.tolist() == [0.0, 0.0] and moved(at[0], later[0])[1] > 0


def test_a_step_with_a_spike_is_skipped_and_remembered():
    before, at, later = run(PLAIN, loss_spikes="skip")
    assert moved(before[0], at[0]) == [0.0, 0.0] and moved(at[0], later[0]) == [1.0, 1.0]
    assert (int(at[0].step), float(at[1].skipped), float(at[1].updated)) == (SEEN + 2, 1.0, 0.0)
    assert at[0].memory.spikes.variance[1] > before[0].memory.spikes.variance[1]


def test_it_is_told_and_nothing_more_where_others_stop():
    before, at, _ = run(PLAIN, loss_spikes="stop")
    assert at[1].spiked.tolist() == [0.0, 1.0] and moved(before[0], at[0]) == [1.0, 1.0]


def test_of_accumulated_batches_the_one_with_a_spike_is_left_out():
    # The mean of the batches of steps 21 and 22, of which b was in the first alone.
    before, at, _ = run(PLAIN, loss_spikes="leave_out", accumulate=2)
    assert float(at[1].updated) == 1 and moved(before[0], at[0]) == [1.0, 0.5]
    # A batch that is skipped does not count: that of step 23 makes the mean complete.
    before, at, later = run(PLAIN, loss_spikes="skip", accumulate=2)
    assert moved(before[0], at[0]) == [0.0, 0.0] and moved(at[0], later[0]) == [1.0, 1.0]


def test_without_it_the_state_has_no_other_fields():
    step = train_step(LOSSES, PLAIN, optax.sgd(RATE))
    state = step.init({"w": jnp.zeros(2)})
    shapes, metrics = jax.eval_shape(step.update, state, {"heights": HEIGHTS[0]})
    assert type(shapes.memory) is Memory and metrics.spiked is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss_spikes": "drop"}, "loss_spikes must be one of keep, stop, leave_out, skip"),
        ({"spike_deviations": 0.0}, "spike_deviations must be positive, got 0.0"),
        ({"loss_spikes": "leave_out", "strategy": "lagged"}, "must not be 'leave_out'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        train_step(LOSSES, weighting.mgda(), optax.sgd(RATE), **settings)

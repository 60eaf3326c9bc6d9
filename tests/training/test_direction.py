"""What a step supplies to a method, against derivatives taken another way."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from mtljax import aggregation, weighting
from mtljax.aggregation import per_group
from mtljax.training.directions import Method
from mtljax.training.gradients import task_losses
from mtljax.training.step import make_step

EVERYTHING = frozenset(weighting.SIGNALS)


class Seen(NamedTuple):
    """The signals of the last call."""

    losses: Any
    signals: Any


def probe(requires, shares):
    """A weighting of given weights whose state is what it was given."""

    def init(num_tasks):
        shapes = {n: (num_tasks,) * weighting.SIGNALS[n] for n in requires - {"losses"}}
        return Seen(jnp.zeros(num_tasks), {n: jnp.zeros(shape) for n, shape in shapes.items()})

    def update(losses, state, *, mask=None, row_scale=None, **signals):
        np.testing.assert_equal(set(signals), set(requires - {"losses"}))
        return jnp.asarray(shares, losses.dtype), Seen(losses, signals)

    return weighting.Weighting(init, update, frozenset(requires))


def flat_losses(model, params, batch, key):
    """Importance-weighted losses as a function of the flat shared parameters, and the start."""
    start, restore = ravel_pytree(params["shared"])
    importance = jnp.asarray([task.weight for task in model.tasks])

    def losses(flat):
        return importance * task_losses(model, {**params, "shared": restore(flat)}, batch, key)

    return losses, start


def jacobian(model, params, batch, key):
    losses, start = flat_losses(model, params, batch, key)
    return np.asarray(jax.jit(jax.jacrev(losses))(start))


def close(found, expected, rtol=2e-4):
    scale = max(float(np.abs(expected).max()), 1e-6)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * scale)


def test_every_signal(begin, three):
    shares = [0.5, 0.25, 0.25]
    method = Method(probe(EVERYTHING, shares), EVERYTHING, inner_lr=0.05)
    model, step, state, streams = begin(method, three)
    before, (batch, extra) = state, next(streams)
    key = jax.random.fold_in(jax.random.key(0), 0)
    state, metrics = step(state, batch, extra)

    seen = state.optimizer.weighting
    rows = jacobian(model, before.params, batch, key)
    second = jacobian(model, before.params, extra.second, jax.random.fold_in(key, 1))
    close(seen.losses, flat_losses(model, before.params, batch, key)[0](
        ravel_pytree(before.params["shared"])[0]))  # fmt: skip
    close(seen.signals["cross_gramian"], rows @ second.T)
    # The other gradient signals are those of the mean of both batches, as is the direction.
    rows = (rows + second) / 2
    close(seen.signals["gramian"], rows @ rows.T)
    close(seen.signals["gramian_diagonal"], np.square(rows).sum(1))
    moved = ravel_pytree(before.params["shared"])[0] - np.asarray(shares) @ rows
    close(ravel_pytree(state.params["shared"])[0], moved)

    # The inner step takes the weights of the step before: equal ones at first.
    inner = ravel_pytree(before.params["shared"])[0] - 0.05 * rows.mean(0)
    inner_losses, _ = flat_losses(model, before.params, extra.validation, None)
    validation = np.asarray(jax.jacrev(inner_losses)(inner))
    close(seen.signals["validation_gradients"], validation @ rows.T)
    close(seen.signals["validation_losses"], inner_losses(
        ravel_pytree(before.params["shared"])[0]))  # fmt: skip

    after = task_losses(model, state.params, batch, key) * np.array([1.0, 2.0, 1.0])
    close(state.memory.losses_after, after)
    np.testing.assert_allclose(state.memory.weights, shares)
    np.testing.assert_allclose(metrics.losses * np.array([1, 2, 1]), seen.losses, rtol=1e-6)
    state, _ = step(state, *next(streams))
    close(state.optimizer.weighting.signals["losses_after"], after)


def test_both_ways_to_a_direction_agree(begin, three):
    shares = [0.5, 0.25, 2.0]
    one_pass = Method(weighting.fixed(shares), heads="weighted")
    by_task = Method(
        probe(frozenset({"losses", "gramian"}), np.asarray(shares) / np.mean(shares)),
        frozenset({"losses", "gramian"}),
        heads="weighted",
    )
    results = []
    for method, scale in ((one_pass, np.mean(shares)), (by_task, 1.0)):
        _, step, state, streams = begin(method, three)
        new, _ = step(state, *next(streams))
        results.append(jax.tree.map(lambda a, b, s=scale: (a - b) / s, state.params, new.params))
    jax.tree.map(close, *results)


def test_heads_take_their_own_gradient(begin, three):
    method = probe(frozenset({"losses", "gramian_diagonal"}), [0.0, 0.0, 0.0])
    model, step, state, streams = begin(method, three)
    batch, extra = next(streams)
    new, _ = step(state, batch, extra)
    jax.tree.map(np.testing.assert_array_equal, new.params["shared"], state.params["shared"])
    key = jax.random.fold_in(jax.random.key(0), 0)
    importance = jnp.array([1.0, 2.0, 1.0])
    slope = jax.grad(
        lambda heads: jnp.sum(
            importance * task_losses(model, {**state.params, "heads": heads}, batch, key)
        )
    )(state.params["heads"])
    moved = jax.tree.map(lambda a, b: a - b, state.params["heads"], new.params["heads"])
    jax.tree.map(close, moved, slope)


@pytest.mark.parametrize("name", ["graddrop", "moco"])
def test_aggregators_see_the_stacked_gradients(begin, three, name):
    rule = aggregation.METHODS[name](3)
    model, step, state, streams = begin(rule, three)
    batch, extra = next(streams)
    new, metrics = step(state, batch, extra)
    rows = jacobian(model, state.params, batch, jax.random.fold_in(jax.random.key(0), 0))
    stacked = jax.vmap(ravel_pytree(state.params["shared"])[1])(jnp.asarray(rows))
    expected, _ = rule.update(
        stacked, state.optimizer.weighting, state.params["shared"],
        losses=metrics.losses * jnp.array([1.0, 2.0, 1.0]),
    )  # fmt: skip
    moved = jax.tree.map(lambda a, b: a - b, state.params["shared"], new.params["shared"])
    close(ravel_pytree(moved)[0], ravel_pytree(expected)[0])
    assert metrics.weights is None


def test_one_group_is_no_group(begin, three):
    results = []
    for rule in (weighting.mgda(), per_group(weighting.mgda(), 3, lambda path: "all")):
        _, step, state, streams = begin(rule, three)
        results.append(step(state, *next(streams))[0].params)
    jax.tree.map(close, *results)


@pytest.mark.parametrize("rule", [weighting.mgda(), weighting.equal()])
def test_a_task_that_is_not_finite_is_left_out(begin, unaveraged, three, rule):
    config = dataclasses.replace(unaveraged, non_finite="leave_out")
    model, step, state, streams = begin(rule, three, config)
    batch, _ = next(streams)
    spoiled = jax.tree.map(np.copy, batch)
    name = model.layout.group_of("number").name
    there = spoiled[name]["weights"]["number"] > 0
    spoiled[name]["targets"]["number"][there] = np.inf
    absent = jax.tree.map(np.copy, batch)
    absent[name]["weights"]["number"][:] = 0.0
    found, metrics = step(state, spoiled)
    expected, _ = step(state, absent)
    np.testing.assert_array_equal(metrics.not_finite, [0, 0, 1])
    assert metrics.skipped == 0 and metrics.weights[2] == 0
    jax.tree.map(close, found.params, expected.params)


@pytest.mark.parametrize("rule", [weighting.mgda(), weighting.uncertainty()])
def test_a_step_that_is_not_finite_is_skipped(begin, unaveraged, three, rule):
    config = dataclasses.replace(unaveraged, non_finite="skip")
    model, step, state, streams = begin(rule, three, config)
    batch, _ = next(streams)
    name = model.layout.group_of("number").name
    batch[name]["targets"]["number"][batch[name]["weights"]["number"] > 0] = np.nan
    found, metrics = step(state, batch)
    assert metrics.skipped == 1 and found.step == 1
    jax.tree.map(np.testing.assert_array_equal, found._replace(step=state.step), state)


def test_weighted_heads_need_weights(make, plain, three):
    model, _ = make(plain, three)
    method = Method(aggregation.graddrop(3), heads="weighted")
    with pytest.raises(ValueError, match="no weights"):
        make_step(model, method, optax.sgd(1.0), plain)
    with pytest.raises(ValueError, match="'both'"):
        make_step(model, Method(weighting.equal(), heads="both"), optax.sgd(1.0), plain)

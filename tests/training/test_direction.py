"""What a step supplies to a method, against derivatives taken another way."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtljax import aggregation, weighting
from mtljax.aggregation import per_group
from mtljax.step.method import Method
from mtljax.training.objectives.model_objectives import model_objectives
from mtljax.training.step import make_step
from tests.tiny_models import agreement, close, flat, key_of, rows_reader

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


def restore(params, rows):
    """Shared parameters of numbers ``[..., P]`` that lie side by side."""
    leaves, structure = jax.tree.flatten(params["shared"])
    parts = np.split(rows, np.cumsum([leaf.size for leaf in leaves])[:-1], axis=-1)
    return structure.unflatten(
        [np.reshape(part, (*rows.shape[:-1], *leaf.shape))
         for part, leaf in zip(parts, leaves, strict=True)]
    )  # fmt: skip


def test_every_signal(begin, three):
    shares = [0.5, 0.25, 0.25]
    method = Method(probe(EVERYTHING, shares), EVERYTHING, inner_lr=0.05)
    model, step, state, streams = begin(method, three)
    before, (batch, extra) = state, next(streams)
    read, start = rows_reader(model), flat(state.params)
    key = key_of(0)
    state, metrics = step(state, batch, extra)

    seen = state.optimizer.weighting
    losses, rows = read(before.params, batch, key)
    _, second = read(before.params, extra.second, jax.random.fold_in(key, 1))
    close(seen.losses, losses)
    close(seen.signals["cross_gramian"], rows @ second.T)
    # The other gradient signals are those of the mean of both batches, as is the direction.
    rows = (rows + second) / 2
    close(seen.signals["gramian"], rows @ rows.T)
    close(seen.signals["gramian_diagonal"], np.square(rows).sum(1))
    close(flat(state.params), start - np.asarray(shares) @ rows)

    # The inner step takes the weights of the step before: equal ones at first.
    inner = {**before.params, "shared": restore(before.params, start - 0.05 * rows.mean(0))}
    _, validation = read(inner, extra.validation, None)
    close(seen.signals["validation_gradients"], validation @ rows.T)
    close(seen.signals["validation_losses"], read(before.params, extra.validation, None)[0])

    after, _ = read(state.params, batch, key)
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
        before, after = jax.device_get((state.params, new.params))
        results.append(jax.tree.map(lambda a, b, s=scale: (a - b) / s, before, after))
    jax.tree.map(close, *results)


def test_heads_take_their_own_gradient(begin, three):
    method = probe(frozenset({"losses", "gramian_diagonal"}), [0.0, 0.0, 0.0])
    model, step, state, streams = begin(method, three)
    batch, extra = next(streams)
    new, _ = step(state, batch, extra)
    jax.tree.map(np.testing.assert_array_equal, new.params["shared"], state.params["shared"])

    def total(heads):
        losses = model_objectives(model).losses({**state.params, "heads": heads}, batch, key_of(0))
        return jnp.sum(np.array([1.0, 2.0, 1.0]) * losses)

    slope = jax.jit(jax.grad(total))(state.params["heads"])
    moved = jax.tree.map(np.subtract, state.params["heads"], new.params["heads"])
    jax.tree.map(close, moved, slope)


@pytest.mark.parametrize("name", ["graddrop", "moco"])
def test_aggregators_see_the_stacked_gradients(begin, three, name):
    rule = aggregation.METHODS[name](3)
    model, step, state, streams = begin(rule, three)
    batch, extra = next(streams)
    new, metrics = step(state, batch, extra)
    losses, rows = rows_reader(model)(state.params, batch, key_of(0))
    stacked = restore(state.params, rows)
    combine = jax.jit(lambda rows, losses: rule.update(
        rows, state.optimizer.weighting, state.params["shared"], losses=losses)[0])  # fmt: skip
    expected = combine(stacked, losses)
    moved = jax.tree.map(np.subtract, state.params["shared"], new.params["shared"])
    close(flat({"shared": moved}), flat({"shared": expected}))
    assert metrics.weights is None


def test_one_group_is_no_group(begin, three):
    results = []
    for rule in (agreement(), per_group(agreement(), 3, lambda path: "all")):
        _, step, state, streams = begin(rule, three)
        results.append(step(state, *next(streams))[0].params)
    jax.tree.map(close, *results)


@pytest.mark.parametrize("rule", [agreement(), weighting.equal()])
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


@pytest.mark.parametrize("rule", [agreement(), weighting.uncertainty()])
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

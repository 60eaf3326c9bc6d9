"""Strategies from batches to an update, against the gradients of each task taken one by one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtljax import weighting
from mtljax.errors import UserError
from mtljax.modules import DecoderConfig
from mtljax.presets import GradientsConfig
from mtljax.step.method import Method, as_method
from mtljax.training.check_config import check_strategy
from mtljax.training.objectives.model_objectives import model_objectives
from mtljax.training.step import make_step
from mtljax.weighting import wrappers
from tests.tiny_models import agreement, agreement_of, close, flat, key_of, rows_reader


def with_gradients(config, **options):
    return dataclasses.replace(config, gradients=GradientsConfig(**options))


def accumulating(config, count):
    optimizer = dataclasses.replace(config.optimizer, accumulate=count)
    return dataclasses.replace(config, optimizer=optimizer)


@pytest.mark.parametrize("name", ["mgda", "geometric"])
def test_gradients_of_several_batches_come_before_the_method(begin, unaveraged, three, name):
    rule = weighting.METHODS[name]()
    model, step, first, streams = begin(rule, three, accumulating(unaveraged, 2))
    state, seen, rows_of = first, [], rows_reader(model)
    for number in range(2):
        batch, _ = next(streams)
        seen.append(rows_of(first.params, batch, key_of(number)))
        state, metrics = step(state, batch)
        assert metrics.updated == number and state.step == number + 1
        if not number:
            jax.tree.map(np.testing.assert_array_equal, state.params, first.params)
            assert np.isnan(metrics.weights).all()
    objectives = sum(losses for losses, _ in seen) / 2
    rows = sum(rows for _, rows in seen) / 2
    weigh = jax.jit(lambda losses, gramian: rule.update(losses, rule.init(3), gramian=gramian)[0])
    weights = weigh(objectives, rows @ rows.T)
    close(metrics.weights, weights)
    if name == "geometric":
        # One backward pass a batch: its weights are those of the batch, the state's of the mean.
        each = [weigh(losses, rows @ rows.T) @ rows for losses, rows in seen]
        close(flat(first.params) - flat(state.params), sum(each) / 2)
    else:
        close(flat(first.params) - flat(state.params), np.asarray(weights) @ rows)
    assert state.sums.count == 0


def test_a_batch_that_is_not_finite_is_not_added(begin, unaveraged, three):
    config = dataclasses.replace(accumulating(unaveraged, 2), non_finite="skip")
    model, step, first, streams = begin(agreement(), three, config)
    batches = [next(streams)[0] for _ in range(3)]
    name = model.layout.group_of("number").name
    spoiled = jax.tree.map(np.copy, batches[1])
    spoiled[name]["targets"]["number"][spoiled[name]["weights"]["number"] > 0] = np.inf
    state, _ = step(first, batches[0])
    state, metrics = step(state, spoiled)
    assert metrics.skipped == 1 and metrics.updated == 0 and state.sums.count == 1
    state, metrics = step(state, batches[2])
    assert metrics.updated == 1 and np.isfinite(flat(state.params)).all()


@pytest.mark.parametrize("heads", ["own", "weighted"])
def test_between_two_gramians_the_weights_stay(begin, unaveraged, three, heads):
    """One backward pass gives what all of them would, for the heads as well."""
    rule = wrappers.every(agreement(), 3)
    method = Method(rule, rule.requires, heads=heads)
    model, step, state, streams = begin(method, three, with_gradients(unaveraged, telemetry=True))
    state, metrics = step(state, *next(streams))
    kept = metrics.weights
    assert np.isfinite(metrics.gradients.norms).all()
    batch, _ = next(streams)
    _, rows = rows_reader(model)(state.params, batch, key_of(1))
    new, metrics = step(state, batch)
    np.testing.assert_array_equal(metrics.weights, kept)
    assert np.isnan(metrics.gradients.norms).all()
    close(flat(state.params) - flat(new.params), kept @ rows)
    scale = kept / np.mean(kept) if heads == "weighted" else np.ones(3)

    def slope(own):
        losses = model_objectives(model).losses({**state.params, "heads": own}, batch, key_of(1))
        return jnp.sum(scale * np.array([1.0, 2.0, 1.0]) * losses)

    expected = jax.jit(jax.grad(slope))(state.params["heads"])
    moved = jax.tree.map(np.subtract, state.params["heads"], new.params["heads"])
    jax.tree.map(close, moved, expected)


@pytest.mark.parametrize("strategy", ["lagged", "sketched"])
def test_weights_of_the_step_before(begin, unaveraged, three, strategy):
    config = with_gradients(unaveraged, strategy=strategy, sketch=8192, telemetry=True)
    model, step, state, streams = begin(agreement(), three, config)
    rows_of = rows_reader(model)
    np.testing.assert_allclose(state.memory.weights, 1 / 3)  # as if nothing conflicted
    used = np.asarray(state.memory.weights)
    for number in range(2):
        batch, _ = next(streams)
        _, rows = rows_of(state.params, batch, key_of(number))
        new, metrics = step(state, batch)
        close(flat(state.params) - flat(new.params), used @ rows)
        gramian = rows @ rows.T
        norms = np.sqrt(np.diagonal(gramian))
        # A sketch of 8,191 numbers is right to about 1.5 standard deviations of 1.1 %.
        tolerance = 2e-4 if strategy == "lagged" else 0.05
        np.testing.assert_allclose(metrics.gradients.norms, norms, rtol=tolerance)
        np.testing.assert_allclose(
            metrics.gradients.cosines, gramian / np.outer(norms, norms), atol=tolerance
        )
        if strategy == "lagged":
            close(metrics.weights, agreement_of(gramian))
        state, used = new, np.asarray(new.memory.weights)
        np.testing.assert_array_equal(used, metrics.weights)


def test_an_absent_task_keeps_its_lagged_weight(begin, unaveraged, three):
    model, step, state, streams = begin(
        agreement(), three, with_gradients(unaveraged, strategy="lagged")
    )
    state, _ = step(state, *next(streams))
    batch, _ = next(streams)
    batch[model.layout.group_of("number").name]["weights"]["number"][:] = 0
    new, metrics = step(state, batch)
    assert metrics.weights[2] == 0
    np.testing.assert_array_equal(new.memory.weights[2], state.memory.weights[2])


def test_sketches_accumulate(begin, unaveraged, three):
    config = accumulating(with_gradients(unaveraged, strategy="sketched", telemetry=True), 2)
    model, step, first, streams = begin(agreement(), three, config)
    state, rows, rows_of = first, 0, rows_reader(model)
    for number in range(2):
        batch, _ = next(streams)
        rows = rows + rows_of(first.params, batch, key_of(number))[1] / 2
        state, metrics = step(state, batch)
    close(flat(first.params) - flat(state.params), rows.mean(0) * 3 * first.memory.weights[0])
    # The sketch of the sum is the sum of the sketches: the norms are those of the mean gradients.
    np.testing.assert_allclose(metrics.gradients.norms, np.linalg.norm(rows, axis=1), rtol=0.08)


def test_gradients_at_the_features(begin, unaveraged, tasks):
    """One input group: the Gramian is that of the slopes at the encoder's output."""
    chosen = (tasks["label"], tasks["number"])
    config = with_gradients(unaveraged, strategy="representation", telemetry=True)
    model, step, state, streams = begin(agreement(), chosen, config)
    batch, _ = next(streams)
    new, metrics = step(state, batch)
    _, rows = rows_reader(model)(state.params, batch, key_of(0))
    close(flat(state.params) - flat(new.params), np.asarray(metrics.weights @ rows))
    cosines, norms = (np.asarray(part, float) for part in metrics.gradients)
    close(metrics.weights, agreement_of(cosines * np.outer(norms, norms)), 1e-3)


@pytest.mark.parametrize("strategy", ["unrolled", "sketched"])
def test_telemetry_does_not_change_the_step(begin, unaveraged, three, strategy):
    found = []
    for telemetry in (False, True):
        config = with_gradients(unaveraged, strategy=strategy, sketch=8192, telemetry=telemetry)
        _, step, state, streams = begin(agreement(), three, config)
        state, metrics = step(state, *next(streams))
        found.append(state.params)
        assert (metrics.gradients is None) == (not telemetry)
    jax.tree.map(close, *found)


def test_strategies_that_do_not_suit(make, plain, three):
    model, _ = make(plain, three)

    def build(method, config):
        return make_step(model, method, optax.sgd(1.0), config)

    method = as_method(weighting.mgda())
    with pytest.raises(UserError, match="same inputs"):
        check_strategy(with_gradients(plain, strategy="representation"), model, method)
    with pytest.raises(ValueError, match="not for an aggregator, nor for a method of several"):
        build(weighting.modo(), with_gradients(plain, strategy="lagged"))
    with pytest.raises(ValueError, match="'sketched'"):
        build(weighting.mgda(), accumulating(with_gradients(plain, strategy="lagged"), 2))
    config = dataclasses.replace(with_gradients(plain, strategy="sketched"), non_finite="leave_out")
    with pytest.raises(ValueError, match="leave_out"):
        build(weighting.mgda(), config)


@pytest.mark.exhaustive
@pytest.mark.parametrize("layers", [0, 1])
def test_label_sets_pairs_and_text_to_text(begin, plain, unaveraged, tasks, layers):
    chosen = tuple(tasks[name] for name in ("sets", "pair", "reply"))
    decoder = DecoderConfig(layers, heads=1, feed_forward=8, dropout=0.0)
    # A linear encoder alone cannot write.
    encoder = unaveraged.encoder if layers else plain.encoder
    config = dataclasses.replace(unaveraged, encoder=encoder, decoder=decoder)
    model, step, state, streams = begin(agreement(), chosen, config)
    assert model.layout.group_of("reply").attention == ("separate" if layers else "causal")
    assert len(model.layout.groups) == 3
    batch, _ = next(streams)
    losses, rows = rows_reader(model)(state.params, batch, key_of(0))
    new, metrics = step(state, batch)
    close(metrics.losses, losses)
    close(metrics.weights, agreement_of(rows @ rows.T))
    close(flat(state.params) - flat(new.params), np.asarray(metrics.weights) @ rows)

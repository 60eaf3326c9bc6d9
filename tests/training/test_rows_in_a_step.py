"""A step whose tables have gradients by rows, against the Jacobian of the losses."""

import dataclasses

import jax
import numpy as np
import pytest

from mtljax import aggregation, weighting
from mtljax.gradients import RowGradients, tables
from mtljax.gradients.row_gradients import is_rows
from mtljax.presets import GradientsConfig
from mtljax.step.method import Method
from mtljax.training.objectives.model_objectives import model_objectives
from tests.tiny_models import agreement, close, flat, key_of, rows_reader


@pytest.fixture
def by_rows(monkeypatch):
    """All tables are kept by rows, however small."""

    def switch(on):
        monkeypatch.setattr(tables, "_MIN_SIZE", 1 if on else 10**9)
        monkeypatch.setattr(tables, "_MIN_ROWS_PER_LOOKUP", 0)

    return switch


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["linear", "lstm"])
def test_tables_of_every_encoder(begin, unaveraged, tasks, by_rows, kind):
    """Words, affixes and pairs, with words dropped; the softmax of one task is tied to words.

    A transformer looks up what an LSTM does.
    """
    by_rows(True)
    encoder = dataclasses.replace(
        unaveraged.encoder, kind=kind, ngrams=2, word_dropout=0.3, token_dropout=0.2
    )
    config = dataclasses.replace(unaveraged, encoder=encoder)
    chosen = [tasks[name] for name in ("number", "tags", "next")]
    model, step, first, streams = begin(agreement(), chosen, config)
    batch, _ = next(streams)
    objectives = model_objectives(model)
    found = jax.eval_shape(objectives.task_gradients, first.params, batch, key_of(0)).shared
    rows = [leaf for leaf in jax.tree.leaves(found, is_leaf=is_rows) if is_rows(leaf)]
    words = found["embedding"]["words"]
    assert len(rows) == (3 if kind == "linear" else 2)
    assert isinstance(words, RowGradients)
    assert words.dense_tasks == ((0, 2) if len(model.layout.groups) == 2 else (2,))
    state, metrics = step(first, batch)
    _, jacobian = rows_reader(model)(first.params, batch, key_of(0))
    close(flat(first.params) - flat(state.params), np.asarray(metrics.weights) @ jacobian)


@pytest.mark.parametrize("name", ["leave_out", "sketched", "second_batch", "groups"])
def test_options(begin, unaveraged, three, by_rows, name):
    """What a step does besides is the same with tables by rows."""
    config, rule = unaveraged, agreement()
    if name == "leave_out":
        optimizer = dataclasses.replace(config.optimizer, accumulate=2)
        gradients = GradientsConfig(telemetry=True)
        config = dataclasses.replace(
            config, optimizer=optimizer, gradients=gradients, non_finite="leave_out"
        )
    elif name == "sketched":
        config = dataclasses.replace(config, gradients=GradientsConfig("sketched", 61))
    elif name == "groups":
        labelled = aggregation.per_group(rule, 3, lambda path: path.split("/")[0])
        rule = Method(labelled, takes_rows=True)
    else:
        rule = weighting.modo()
    results = []
    for on in (True, False):
        by_rows(on)
        model, step, state, streams = begin(rule, three, config)
        for number in range(2):
            batch, extra = next(streams)
            if name == "leave_out" and number:
                group = model.layout.group_of("number").name
                batch = jax.tree.map(np.copy, batch)
                there = batch[group]["weights"]["number"] > 0
                batch[group]["targets"]["number"][there] = np.inf
            state, metrics = step(state, batch, extra)
        results.append((flat(state.params), metrics.weights, metrics.gradients))
    for found, expected in zip(*map(jax.tree.leaves, results), strict=True):
        close(np.asarray(found), np.asarray(expected))

"""What a linear encoder reads, as sparse features."""

import dataclasses

import jax
import numpy as np
import pytest

from mtljax.modules import encode, predict
from mtljax.training.solved.features import (
    column_scales,
    encoder_columns,
    in_tables,
    scaled,
    text_features,
)


def dense(features):
    found = np.zeros(features.shape)
    np.add.at(found, (features.rows, features.columns), features.values)
    return found


@pytest.mark.parametrize("pooling", ["root", "mean"])
def test_features_times_tables_are_what_the_network_pools(make, unaveraged, tasks, pooling):
    heads = dataclasses.replace(unaveraged.heads, pooling=(pooling,))
    encoder = dataclasses.replace(unaveraged.encoder, ngrams=3, embedding=2, features=2)
    model, data = make(dataclasses.replace(unaveraged, heads=heads, encoder=encoder),
                       (tasks["grade"],))  # fmt: skip
    columns = encoder_columns(encoder, data.layout.vocab_size, data.layout.affix_buckets + 1)
    (group,) = data.groups
    features = dense(text_features(data.examples[group.name]["test"], columns,
                                   root=pooling == "root"))  # fmt: skip
    weights = np.random.default_rng(0).normal(size=(2, columns.width)).astype(np.float32)
    # The first output of the head has the second column of the encoder, and the other way round.
    head = {"out": {"kernel": np.array([[0.0, 1.0, 0], [1.0, 0.0, 0]]), "bias": np.zeros(3)}}
    shared = in_tables(weights, columns)

    @jax.jit
    def scores(batch):
        read = encode(model.network, shared, group.name, batch)
        return predict(model.network, head, "grade", read, data.layout.shapes[group.name]
                       .max_segments)  # fmt: skip

    found = np.full((len(features), 2), np.nan)
    for batch in data.evaluation_batches(group.name, "test"):
        arrays = {name: batch[name] for name in ("tokens", "affixes", "segments", "positions")}
        values, there = np.asarray(scores(arrays)), batch["weights"]["grade"] > 0
        found[batch["example"][there]] = values[there][:, [1, 0]]
    counted = np.isfinite(found[:, 0])
    assert counted.sum() > 8
    np.testing.assert_allclose(
        found[counted], (features @ weights.T)[counted], rtol=2e-5, atol=1e-5
    )


def test_rare_columns_weigh_more_and_texts_have_unit_length(make, unaveraged, tasks):
    _, data = make(unaveraged, (tasks["grade"],))
    columns = encoder_columns(unaveraged.encoder, data.layout.vocab_size, 17)
    (group,) = data.groups
    features = text_features(data.examples[group.name]["train"], columns, root=True)
    plain, scales = dense(features), column_scales([features])
    having, count = (plain > 0).sum(0), len(plain)
    rarity = np.log((1 + count) / (1 + having)) + 1
    np.testing.assert_allclose(scales / scales[0], rarity / rarity[0], rtol=1e-6)
    lengths = np.square(dense(scaled(features, scales))).sum(1)
    assert np.mean(lengths) == pytest.approx(1.0, rel=1e-5)

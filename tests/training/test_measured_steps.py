"""Only some steps of a run are measured, and all of them train the same."""

import numpy as np
import pytest

import mtljax
from mtljax.training import read_metrics

TASKS = {
    "tasks": {
        "amazon": {
            "dataset": "amazon_sentiment",
            "kind": "classification",
            "inputs": "text",
            "targets": "label",
        },
        "movie": {
            "dataset": "movie_sentiment",
            "kind": "classification",
            "inputs": "text",
            "targets": "label",
        },
    }
}


def trained(directory, **gradients):
    config = {
        "preset": "linear",
        "steps": 4,
        "epochs": 0,
        "log_every": 1,
        "evaluate_every": 2,
        "batch": {"tokens": 256, "row_length": 32},
        "tokenizer": {"num_words": 300},
        "encoder": {"embedding": 4, "ngram_buckets": 64},
        "gradients": gradients,
    }
    mtljax.train(config, TASKS, directory)
    return [row for row in read_metrics(directory) if row["split"] == "train"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    base = tmp_path_factory.mktemp("runs")
    every = trained(base / "every", telemetry=True)
    second = trained(base / "second", telemetry=True, telemetry_every=2)
    return every, second


def test_every_second_step_is_measured(runs):
    every, second = runs
    name = "gramian/amazon/movie"
    assert [row["step"] for row in second if name in row] == [2, 4]
    assert all(name in row for row in every)
    np.testing.assert_allclose(second[1][name], every[1][name], rtol=1e-4, atol=1e-7)


def test_steps_between_train_the_same(runs):
    for one, other in zip(*runs, strict=True):
        for task in ("amazon", "movie"):
            np.testing.assert_allclose(one[f"loss/{task}"], other[f"loss/{task}"], rtol=1e-5)

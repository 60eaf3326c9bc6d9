"""A kind of task that this file alone defines, from a tasks file to an answer."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from mtljax import metrics
from mtljax.data import DataOptions, TokenizerSettings
from mtljax.errors import UserError
from mtljax.inference import load_run
from mtljax.kinds import KINDS, Kind
from mtljax.modules import EncoderConfig, HeadsConfig, segment_head
from mtljax.planning.assumed_layout import Assumed, planned_layout
from mtljax.presets import BatchConfig, Config, OptimizerConfig
from mtljax.tasks import Task, load_tasks, main_metric
from mtljax.training import train
from mtljax.training.inputs.abstract_batch import abstract_batch

WORDS = ("calm", "busy", "frantic")


def encode_counts(rows):
    counts = np.zeros(len(rows.rows), np.int32)
    for i, row in enumerate(rows.rows):
        if row[rows.target_name] < 0:
            rows.fault(i, f"count {row[rows.target_name]} is negative")
        else:
            counts[i] = row[rows.target_name]
    return counts, rows.sample_weights()


def poisson(predictions, targets, settings):
    """The negative log likelihood of counts, less a constant, of which the log rate is given."""
    assert settings.name == "poisson"
    return jnp.exp(predictions[..., 0]) - targets * predictions[..., 0]


def state(name, rates, counts, weights, output):
    assert name == "mean_ratio"
    return metrics.Mean((weights * rates / (1 + counts)).sum(), weights.sum())


def largest_error(rates, counts, scheme, classes):
    errors = [abs(rate - count).max() for rate, count in zip(rates, counts, strict=True)]
    return metrics.Mean(np.sum(errors), len(errors))


COUNT = Kind(
    losses=("poisson",),
    metrics=("mean_ratio", "host_error", "loss"),
    lower_is_better=frozenset({"mean_ratio", "host_error", "loss"}),
    several_inputs=True,
    target_features=("number",),
    encode_targets=encode_counts,
    head=segment_head,
    element_losses=poisson,
    predicted_targets=lambda predictions, num_classes: jnp.exp(predictions[..., 0]),
    metric_state=state,
    host_metrics={"host_error": largest_error},
    answer=lambda rate, output, words: {"expected": round(float(rate), 4)},
)
TASKS = """
sources:
  days: {splits: {train: train.jsonl, validation: validation.jsonl, test: test.jsonl}}
tasks:
  visits:
    {dataset: days, kind: count, inputs: text, targets: visits, metrics: [mean_ratio, host_error]}
  mood: {dataset: days, kind: classification, inputs: text, targets: mood}
"""
CONFIG = Config(
    steps=40,
    evaluate_every=20,
    log_every=20,
    tokenizer=TokenizerSettings(min_count=1, prefixes=(), suffixes=(), shape=False),
    batch=BatchConfig(tokens=64, row_length=8),
    encoder=EncoderConfig("linear", embedding=8, ngram_buckets=16),
    heads=HeadsConfig(pooling=("mean",)),
    optimizer=OptimizerConfig(warmup_steps=0, learning_rate=0.1, average=0.0),
)


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """Counts that hang on a word, and a class that the same word tells."""
    monkeypatch.setitem(KINDS, "count", COUNT)
    rng = np.random.default_rng(0)
    for split, size in (("train", 60), ("validation", 8), ("test", 9)):
        words = rng.choice(3, size)
        rows = [
            {"text": f"a {WORDS[k]} day", "visits": int(rng.poisson(1 + 3 * k)), "mood": WORDS[k]}
            for k in words
        ]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "tasks.yaml").write_text(TASKS)
    return load_tasks(tmp_path / "tasks.yaml")


def test_it_trains_evaluates_and_answers(tasks, tmp_path):
    summary = train(CONFIG, tasks, tmp_path / "run")
    run = load_run(tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text().splitlines()]
    answers = run.predict([row["text"] for row in rows])
    rates = np.array([answer["visits"]["expected"] for answer in answers])
    counts = np.array([row["visits"] for row in rows])
    values = run.evaluate("test")
    assert values["visits"] == pytest.approx(summary["tasks"]["visits"]["test"], rel=1e-5)
    likelihood = rates - counts * np.log(rates)
    assert values["visits"]["loss"] == pytest.approx(likelihood.mean(), rel=1e-2)
    assert values["visits"]["mean_ratio"] == pytest.approx((rates / (1 + counts)).mean(), rel=1e-2)
    assert values["visits"]["host_error"] == pytest.approx(abs(rates - counts).mean(), rel=1e-2)
    # Better than the best rate for all, and in the order of the words.
    mean = counts.mean()
    assert likelihood.mean() < mean - mean * np.log(mean)
    calm, busy, frantic = (a["visits"]["expected"] for a in run.predict([*WORDS], ["visits"]))
    assert calm < busy < frantic
    assert [a["mood"]["label"] for a in answers] == [row["mood"] for row in rows]


def test_its_options_are_checked(tasks):
    task = tasks[0]
    assert main_metric(task) == "mean_ratio"
    assert main_metric(dataclasses.replace(task, metrics=())) == "mean_ratio"
    for field, value in (("loss", "squared"), ("metrics", ("accuracy",)), ("scheme", "bio"),
                         ("label_smoothing", 0.1), ("rename_words", 0.1), ("targets", None),
                         ("class_weights", "balanced"), ("references", "text")):  # fmt: skip
        with pytest.raises(UserError, match=f"task 'visits', field '{field}'"):
            dataclasses.replace(task, **{field: value})


def test_a_row_it_cannot_use_is_named(tasks, tmp_path):
    rows = (tmp_path / "validation.jsonl").read_text().splitlines()
    bad = json.dumps({"text": "a calm day", "visits": -2, "mood": "calm"})
    (tmp_path / "validation.jsonl").write_text("\n".join([*rows, bad]))
    with pytest.raises(
        UserError, match="'visits', .* 'validation', row 8 .*, line 9.: count -2 is negative"
    ):
        train(CONFIG, tasks, tmp_path / "run")


def test_a_plan_knows_its_shapes(tasks):
    layout = planned_layout(
        tasks, DataOptions(), Assumed(classes=3, vocabulary=50), tokenizer=CONFIG.tokenizer
    )
    targets = next(iter(abstract_batch(layout).values()))["targets"]["visits"]
    assert (targets.ndim, targets.dtype) == (2, np.int32)
    assert layout.outputs["visits"].num_classes == 1


def test_its_features_are_checked(tasks, tmp_path):
    wrong = dataclasses.replace(tasks[0], targets="mood")
    with pytest.raises(UserError, match="'mood' .* is a text, but count needs a number"):
        train(CONFIG, (wrong,), tmp_path / "run")


def test_without_its_entry_there_is_no_such_kind():
    with pytest.raises(UserError, match="unknown kind 'count'"):
        Task("t", "d", "count", "x", "y")

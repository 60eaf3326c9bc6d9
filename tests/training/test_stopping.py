"""Early stopping."""

import dataclasses
import json
import math

import pytest

from mtljax.errors import Preempted, UserError
from mtljax.presets import StoppingConfig
from mtljax.training import train
from mtljax.training.reporting.metrics_file import read_metrics
from mtljax.training.stopping import Best, better, why_stopped


@pytest.mark.parametrize(
    ("patience", "scores", "stops"),
    [
        (0, [0.5, 0.4, 0.3, 0.2], None),
        (1, [0.5, 0.6, 0.6], 3),
        (2, [0.5, 0.4, 0.6, 0.5, 0.6, 0.9], 5),
        (2, [0.5, math.nan, 0.4], 3),
        (3, [0.1, 0.1, 0.1, 0.2, 0.1, 0.1], None),
    ],
)
def test_the_evaluation_after_which_a_run_ends(patience, scores, stops):
    config, best, ended = StoppingConfig(patience), None, None
    for number, score in enumerate(scores, 1):
        best = better(best, 10 * number, score)
        if why_stopped(config, best, 10 * number, 10):
            ended = number
            break
    assert ended == stops


def test_the_reason_names_what_did_not_get_better():
    assert why_stopped(StoppingConfig(1, "tags"), Best(20, 0.1), 30, 10) == (
        "no better score of tags in the evaluation after step 20"
    )
    assert why_stopped(StoppingConfig(3), Best(20, 0.1), 50, 10) == (
        "no better score in the 3 evaluations after step 20"
    )


@pytest.fixture
def still(config):
    """A run that learns next to nothing, so that no evaluation is better than the first."""
    return dataclasses.replace(
        config,
        steps=16,
        encoder=dataclasses.replace(config.encoder, kind="linear", ngram_buckets=32),
        optimizer=dataclasses.replace(config.optimizer, learning_rate=1e-30),
        stopping=StoppingConfig(patience=2, task="label"),
    )


def test_a_run_that_stops_is_complete_and_goes_on_with_more_patience(tiny, still, tasks, tmp_path):
    """Stopped in between or not: what it has seen so far is in its checkpoints."""
    chosen, run = (tasks["label"], tasks["number"]), tmp_path / "run"
    with pytest.raises(Preempted):
        train(still, chosen, run, preempted=lambda step: step == 9)
    summary = train(still, chosen, run)
    assert summary["steps"] == 12
    assert summary["stopped"] == "no better score of label in the 2 evaluations after step 4"
    assert [line["step"] for line in read_metrics(run) if line["split"] == "validation"] == [
        4,
        8,
        12,
    ]
    assert train(still, chosen, run) == summary
    # Without its summary, as if it had been killed before the end.
    (run / "summary.json").unlink()
    again = train(still, chosen, run)
    assert (again["steps"], again["stopped"]) == (12, summary["stopped"])

    patient = dataclasses.replace(still, stopping=StoppingConfig(patience=4, task="label"))
    longer = train(patient, chosen, run)
    assert longer["steps"] == 16 and "stopped" not in longer
    assert json.loads((run / "summary-12.json").read_text())["steps"] == 12
    assert train(patient, chosen, run) == longer


def test_one_task_chooses_the_best_checkpoint(tiny, still, tasks, tmp_path, monkeypatch):
    values = iter([0.1, 0.9, 0.3, 0.5])
    monkeypatch.setattr("mtljax.training.stopping.score", lambda model, of_task: next(values)
                        if set(of_task) == {"number"} else pytest.fail())  # fmt: skip
    config = dataclasses.replace(still, stopping=StoppingConfig(task="number"))
    summary = train(config, (tasks["label"], tasks["number"]), tmp_path)
    assert summary["best_step"] == 8 and summary["steps"] == 16


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "lable"}, "stopping.task 'lable': unknown.*label"),
        ({"patience": -1}, "stopping.patience: must be at least 0"),
    ],
)
def test_bad_settings(tiny, still, tasks, tmp_path, settings, message):
    config = dataclasses.replace(still, stopping=StoppingConfig(**settings))
    with pytest.raises(UserError, match=message):
        train(config, (tasks["label"],), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_score_must_be_there(tiny, still, tasks, tmp_path, source, monkeypatch):
    without = dataclasses.replace(source, splits={"train": source.splits["train"]})
    monkeypatch.setattr(
        "mtljax.data.catalogue.load_sources.load_source", lambda name, data_dir, **_: without
    )
    for stopping, message in (
        (StoppingConfig(1), "stopping.patience: no task has a target in validation"),
        (StoppingConfig(0, "label"), "stopping.task: task 'label' has no target in validation"),
    ):
        with pytest.raises(UserError, match=message):
            train(
                dataclasses.replace(still, stopping=stopping), (tasks["label"],), tmp_path / "run"
            )
    assert not (tmp_path / "run").exists()

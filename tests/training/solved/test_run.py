"""Runs whose parameters are the optimum of a convex problem."""

import dataclasses
import io
import json
import shutil

import numpy as np
import pytest
from rich.console import Console
from sklearn.linear_model import LogisticRegression, Ridge

from mtljax.cli.main import main
from mtljax.errors import NotConverged, UserError
from mtljax.inference import load_run
from mtljax.presets import RegularizerConfig
from mtljax.training import train
from mtljax.training.reporting.plot_relation import draw_run_relation
from mtljax.training.solved.features import (
    column_scales,
    encoder_columns,
    scaled,
    text_features,
)
from tests.training.solved.test_features import dense


@pytest.fixture
def linear(unaveraged):
    """A configuration with one penalty, whose outputs are those of a linear model."""
    optimizer = dataclasses.replace(
        unaveraged.optimizer, solver="ridge", penalties=(0.5,), couplings=(3.0,)
    )
    heads = dataclasses.replace(unaveraged.heads, pooling=("root",))
    return dataclasses.replace(unaveraged, optimizer=optimizer, heads=heads)


def with_solver(config, solver, **settings):
    optimizer = dataclasses.replace(config.optimizer, solver=solver, **settings)
    return dataclasses.replace(config, optimizer=optimizer)


def table(params, columns):
    """The weights of all columns ``[d, K]``."""
    tables = [params["shared"][part][name] for (part, name), _ in columns.tables]
    return np.concatenate([np.asarray(each) for each in tables])


def test_outputs_are_the_optimum_that_scikit_learn_finds(make, linear, tasks, tmp_path):
    """Of two classes by their difference, of three each against the rest, and of a number."""
    chosen = tasks["label"], tasks["grade"], dataclasses.replace(tasks["number"], weight=2.0)
    train(linear, chosen, tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert run.config.encoder.embedding == 1 + 3 + 1
    _, data = make(linear, chosen)
    columns = encoder_columns(linear.encoder, data.layout.vocab_size, 17)
    (group,) = data.groups
    examples = data.examples[group.name]["train"]
    plain = text_features(examples, columns, root=True)
    scales = column_scales([plain])
    features, read = dense(scaled(plain, scales)), dense(plain) @ table(run.params, columns)

    def scores(task):
        head = run.params["heads"][task]["out"]
        return read @ np.asarray(head["kernel"]) + np.asarray(head["bias"])

    def expected(targets, weights):
        there = weights > 0
        model = LogisticRegression(C=1 / 0.5, tol=1e-8, max_iter=2000)
        model.fit(features[there], targets[there], weights[there])
        return model.decision_function(features)

    # Scores are as near as the objective is: a share of 2e-5 of about 35, over half a ridge of 0.5.
    close = {"rtol": 0, "atol": 0.05}
    labels, weights = examples.targets["label"], examples.weights["label"]
    two = scores("label")
    np.testing.assert_allclose(two[:, 1] - two[:, 0], expected(labels, weights), **close)
    grades, weights = examples.targets["grade"], examples.weights["grade"]
    for grade in range(3):
        found = scores("grade")[:, grade]
        np.testing.assert_allclose(found, expected(grades == grade, weights), **close)
    numbers = examples.targets["number"]
    # The loss is the square, weighed twice; that of scikit-learn's Ridge too, with the whole of
    # the squared norm.
    ridge = Ridge(alpha=0.5 / 2 / 2, tol=1e-8).fit(features, numbers)
    np.testing.assert_allclose(scores("number")[:, 0], ridge.predict(features), **close)


def test_the_penalty_is_chosen_on_validation_and_the_relation_kept(
    tiny, linear, tasks, tmp_path, capsys
):
    text = io.StringIO()
    config = with_solver(linear, "relation", penalties=(0.1, 100.0), frozen=("shared/*",))
    stopping = dataclasses.replace(linear.stopping, patience=3)
    config = dataclasses.replace(config, preset="linear", stopping=stopping)
    chosen = tasks["label"], tasks["grade"]
    summary = train(config, chosen, tmp_path / "run", console=Console(file=text, width=200))
    start = json.loads((tmp_path / "run" / "start.json").read_text())
    scores = [each["score"] for each in start["tried"]]
    best = start["tried"][int(np.argmax(scores))]
    assert (start["penalty"], start["coupling"]) == (best["penalty"], best["coupling"])
    of_tasks = [summary["tasks"][task.name]["validation"]["accuracy"] for task in chosen]
    assert np.mean(of_tasks) == pytest.approx(max(scores))
    learned = start["relation"]
    assert learned["tasks"] == ["label", "grade: a", "grade: b", "grade: c"]
    relation = np.array(learned["correlation"])
    np.testing.assert_allclose(np.diagonal(relation), 1)
    np.testing.assert_allclose(relation, relation.T)
    assert text.getvalue().count("on validation") == 2
    (told,) = (line for line in text.getvalue().splitlines() if "takes no steps" in line)
    assert "optimizer.frozen" in told and "stopping.patience" in told
    assert "penalties" not in told and "embedding" not in told
    # The same call finds the run complete.
    again = io.StringIO()
    assert train(config, chosen, tmp_path / "run", console=Console(file=again)) == summary
    assert "complete" in again.getvalue()
    # One that was killed before its parameters were saved is solved again.
    (tmp_path / "run" / "summary.json").unlink()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    assert train(config, chosen, tmp_path / "run")["tasks"] == summary["tasks"]
    assert main(["predict", str(tmp_path / "run"), "w1 w2"]) == 0
    assert "grade" in capsys.readouterr().out
    figure = draw_run_relation(tmp_path / "run")
    assert figure is not None and figure.read_bytes().startswith(b"\x89PNG")


def test_tasks_together_share_what_they_learn(tiny, linear, tasks, tmp_path):
    """Where the own part is held fast, tasks of the same targets have the same model."""
    first = dataclasses.replace(tasks["label"], name="first")
    config = with_solver(linear, "together", couplings=(1e4,))
    train(config, (first, tasks["label"]), tmp_path / "run")
    params = load_run(tmp_path / "run").params
    words = np.asarray(params["shared"]["embedding"]["words"])
    assert np.abs(words).max() > 0.01
    np.testing.assert_allclose(words[:, 0], words[:, 1], atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"penalties": ()}, "optimizer.penalties: give one at least"),
        ({"penalties": (-1.0,)}, "optimizer.penalties: must be positive"),
        ({"solver": "together"}, "task 'grade' has an output for each class"),
    ],
)
def test_what_no_linear_model_has_is_refused(tiny, linear, tasks, tmp_path, change, message):
    config = with_solver(linear, **{"solver": "ridge", **change})
    with pytest.raises(UserError, match=message):
        train(config, (tasks["label"], tasks["grade"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_settings_and_tasks_that_it_cannot_have_are_refused(tiny, plain, linear, tasks, tmp_path):
    run, label = tmp_path / "run", tasks["label"]
    penalized = dataclasses.replace(linear, regularizer=RegularizerConfig(l2=0.1))
    for config, task, message in (
        (with_solver(plain, "ridge"), label, "encoder.kind must be 'linear', got 'lstm'"),
        (with_solver(linear, "ridge"), tasks["tags"], "no answer for a whole text"),
        (linear, dataclasses.replace(tasks["number"], loss="huber"), "has no loss 'huber'"),
        (linear, dataclasses.replace(label, head="x"), "no head of several tasks"),
        (linear, dataclasses.replace(label, label_smoothing=0.1), "has no label_smoothing"),
        (penalized, label, "has its own penalties, no regularizer"),
        (with_solver(linear, "trace"), (label, tasks["number"]), "a penalty over both needs one"),
    ):
        with pytest.raises(UserError, match=message):
            train(config, task if isinstance(task, tuple) else (task,), run)
    assert not run.exists()


def test_a_solver_that_stops_early_says_how_far_it_is(tiny, linear, tasks, tmp_path):
    config = with_solver(linear, "ridge", penalties=(1e-4,), solver_steps=1)
    with pytest.raises(NotConverged, match=r"after 1 steps .* above its minimum"):
        train(config, (tasks["label"],), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command_ends_with_code_1_where_it_has_not_converged(tmp_path, capsys):
    rows = [{"text": f"w{i % 7} w{i % 5}", "label": "ab"[i % 3 == 0]} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "tasks.yaml").write_text(
        "sources: {rows: {splits: {train: rows.jsonl}}}\n"
        "tasks: {mood: {dataset: rows, kind: classification, inputs: text, targets: label}}\n"
    )
    arguments = ["--preset", "linear", "--tasks", str(tmp_path / "tasks.yaml")]
    arguments += ["--optimizer.solver", "ridge", "--optimizer.penalties", "1e-4"]
    arguments += ["--cache-dir", "off", "--run-dir", str(tmp_path / "run")]
    assert main(["train", *arguments, "--optimizer.solver-steps", "1"]) == 1
    assert "optimizer.solver 'ridge': after 1 steps" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()

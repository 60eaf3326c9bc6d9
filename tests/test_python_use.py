"""What is given from Python: dictionaries, strings, paths and values of the package alike."""

import dataclasses
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from mtljax.cli.generate import Options, chosen_settings
from mtljax.errors import UserError
from mtljax.inference.generation_config import ANSWER, CONTINUATION, default_config
from mtljax.kinds import KINDS
from mtljax.presets import dump_config, preset, read_config
from mtljax.tasks import Task, dump_tasks, load_tasks, parse_tasks
from mtljax.training import read_metrics, train
from mtljax.training.reporting import progress

TEXT = """
sources:
  s:
    path: d.csv
    features: {label: {kind: label, classes: [true, "no", 3]}}
tasks:
  t: {dataset: s, kind: classification, inputs: text, targets: label, metrics: [macro_f1]}
"""
CONTENT = {
    "sources": {
        "s": {
            "path": Path("d.csv"),
            "features": {"label": {"kind": "label", "classes": (True, "no", np.int64(3))}},
        }
    },
    "tasks": {
        "t": {
            "dataset": "s",
            "kind": "classification",
            "inputs": "text",
            "targets": "label",
            "metrics": ("macro_f1",),
        }
    },
}


def test_tasks_are_read_from_all_that_holds_them(tmp_path):
    path = tmp_path / "tasks.yaml"
    path.write_text(TEXT)
    expected = parse_tasks(TEXT)
    assert parse_tasks(CONTENT) == expected
    assert parse_tasks(path) == parse_tasks(str(path)) == load_tasks(path) == expected
    assert parse_tasks(expected) == parse_tasks(list(expected)) == parse_tasks(expected[0])
    assert parse_tasks(parse_tasks(dump_tasks(expected))) == expected
    (tmp_path / "d.csv").touch()
    assert parse_tasks(path)[0].sources[0].path == str(tmp_path / "d.csv")
    assert parse_tasks(CONTENT, tmp_path) == parse_tasks(TEXT, str(tmp_path)) == parse_tasks(path)


def nested(levels):
    return [] if not levels else [nested(levels - 1)]


LOOP: dict = {}
LOOP["tasks"] = LOOP


@pytest.mark.parametrize(
    ("tasks", "error", "message"),
    [
        ("no such.yaml", UserError, "tasks file no such.yaml: No such file"),
        (Path("no such"), UserError, "tasks file no such: No such file"),
        ({"tasks": {"t": {"dataset": object()}}}, UserError, "of type object"),
        ({"tasks": {"t": {"dataset": nested(99)}}}, UserError, "nested too deeply"),
        (LOOP, UserError, "nested too deeply"),
        ({"task": {}}, UserError, "expected 'tasks:'"),
        ([], UserError, "no tasks"),
        ([{"name": "t"}], TypeError, "a sequence with dict"),
        ("tasks", UserError, "expected 'tasks:'"),
    ],
)
def test_wrong_tasks_are_named(tasks, error, message):
    with pytest.raises(error, match=message):
        parse_tasks(tasks)


def test_configurations_are_read_from_all_that_holds_them(tmp_path):
    linear = preset("linear").config
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(linear))
    for given in ("linear", linear, {"preset": "linear"}, path, str(path), dump_config(linear)):
        assert read_config(given) == linear
    assert read_config({}) == preset("small").config
    some = {"preset": "linear", "steps": 7, "encoder": {"layers": 2}, "weighting": "mgda"}
    expected = dataclasses.replace(
        linear,
        steps=7,
        epochs=0.0,
        weighting="mgda",
        encoder=dataclasses.replace(linear.encoder, layers=2),
    )
    assert read_config(some) == read_config(json.dumps(some)) == expected
    for wrong, message in (
        ("smal", "did you mean 'small'"),
        ({"step": 3}, "config: unknown field 'step'"),
        ({"preset": "huge"}, "preset 'huge': unknown"),
        ({"encoder": 3}, "'encoder': expected fields"),
        (tmp_path / "none.yaml", "config file .*none.yaml: No such file"),
    ):
        with pytest.raises(UserError, match=message):
            read_config(wrong)
    with pytest.raises(TypeError, match="config must be"):
        read_config(3)


def test_a_run_is_trained_and_read_by_strings_and_dictionaries(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"text": f"word {i}", "label": "ab"[i % 2]} for i in range(40)]
    Path("d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = {
        "sources": {"s": {"path": "d.jsonl"}},
        "tasks": {
            "t": {"dataset": "s", "kind": "classification", "inputs": "text", "targets": "label"}
        },
    }
    config = {"preset": "linear", "steps": 1, "evaluate_every": 1, "batch": {"tokens": 64}}
    summary = train(config, tasks, "run")
    Path("tasks.yaml").write_text(json.dumps(tasks))
    # The same run, asked for in other words: it is complete.
    assert train(json.dumps(config), "tasks.yaml", Path("run")) == summary
    assert read_metrics("run") == read_metrics(tmp_path / "run") != []


def test_text_is_written_with_the_same_settings_from_python_and_the_command_line():
    task = {"dataset": "movie_sentiment", "inputs": "text"}
    model = Task(name="m", kind="language_model", **task)
    answer = Task(name="a", kind="text_to_text", targets="text", **task)
    for one, expected in ((model, CONTINUATION), (answer, ANSWER)):
        chosen = chosen_settings(["run"], Options("run"), one)
        assert dataclasses.asdict(chosen) == dataclasses.asdict(expected)
        assert default_config(KINDS[one.kind]) == expected


@pytest.fixture
def notebook(monkeypatch):
    """What a notebook shows, by display: a list of updates each."""
    shown = []

    class Handle:
        def __init__(self, value):
            self.updates = [value]

        def update(self, value):
            self.updates.append(value)

    def display(value, display_id=False):
        shown.append(Handle(value))
        return shown[-1] if display_id else None

    module = types.ModuleType("IPython.display")
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    return shown


VALUES = {"loss/a": 0.6931, "weight/a": 0.25, "tokens_per_second": 40123.0, "seconds_left": 61.0}


def test_progress_is_one_picture_in_a_notebook(notebook):
    console = progress.notebook_console()
    assert console is not None and console.is_jupyter
    reporter = progress.make_reporter(console, 10, 0)
    reporter.step(3, VALUES)
    reporter.step(4, VALUES)  # at once: not drawn
    reporter.say("step 4  validation")
    reporter.step(10, VALUES)
    reporter.close()
    bar = notebook[0].updates
    assert len(bar) == 4 and all(isinstance(table, Table) for table in bar)
    html = bar[-1]._repr_mimebundle_([], [])["text/html"]
    assert "10/10" in html and "a 0.693 x0.25" in html
    assert any("validation" in str(h.updates[0].__dict__) for h in notebook[1:])


def test_no_console_but_that_of_a_notebook():
    assert progress.notebook_console() is None
    reporter = progress.make_reporter(Console(quiet=True, force_jupyter=True), 3, 0)
    assert isinstance(reporter, progress.LineReporter)

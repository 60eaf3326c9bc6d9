"""Runs side by side: values of texts that sum to those of the split, and what is refused."""

import dataclasses
import json
import shutil
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from mtljax.cli import main
from mtljax.errors import UserError
from mtljax.presets import Config
from mtljax.studies import compare, comparison, draw_comparison, text_states
from mtljax.tasks import Task
from tests.conftest import TINY_OPTIONS


@pytest.fixture(scope="module")
def other_run(tiny_run, tmp_path_factory):
    """A run of the same tasks with another seed, weighting and tokenizer, shorter."""
    run = tmp_path_factory.mktemp("other") / "run"
    options = [*TINY_OPTIONS, "--seed", "1", "--weighting", "uncertainty", "--steps", "2"]
    options[options.index("--tokenizer.num-words") + 1] = "50"
    tasks = str(tiny_run.parent / "tasks.yaml")
    assert main(["train", "--tasks", tasks, "--run-dir", str(run), *options]) == 0
    return run


def test_sums_over_texts_are_the_values_of_the_split(loaded_tiny_run):
    found = text_states(loaded_tiny_run)
    values = loaded_tiny_run.evaluate("test")
    assert list(found) == list(values)
    for task, states in found.items():
        np.testing.assert_allclose(states.value(), values[task][states.metric], rtol=1e-5)
        assert np.all(np.diff(states.rows) > 0)


def test_runs_are_compared_task_by_task(tiny_run, other_run, tmp_path):
    found = compare([tiny_run, other_run], draws=200)
    assert found.steps == (4, 2)
    assert found.settings["seed"] == (0, 1)
    assert found.settings["weighting"] == ("equal", "uncertainty")
    assert "preset" not in found.settings
    assert list(found.tasks) == ["sentiment", "casing", "writer", "stars"]
    assert [task.lower_is_better for task in found.tasks.values()] == [False, False, True, True]
    for task in found.tasks.values():
        first, second = task.values
        assert first is not None and second is not None
        assert first.low <= first.value <= first.high
        none, change = task.differences
        assert none is None
        if task.metric == "perplexity":  # of other tokens
            continue
        assert change is not None
        np.testing.assert_allclose(change.value, second.value - first.value, rtol=1e-4, atol=1e-6)
    figure = draw_comparison([tiny_run, other_run], tmp_path / "curves.png")
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_the_command_prints_tables_and_json(tiny_run, other_run, capsys):
    assert main(["compare", str(tiny_run), str(other_run)]) == 0
    text = capsys.readouterr().out
    assert "differences to the first run" in text
    assert "uncertainty" in text
    # Names of runs stand once, in front; the tables fit a terminal.
    assert text.splitlines()[:2] == [f"1. {tiny_run}", f"2. {other_run}"]
    tables = text.splitlines()[2:]
    assert max(map(len, tables)) <= 80 and not any("…" in line for line in tables)
    assert main(["compare", str(tiny_run), str(other_run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tasks"]["sentiment"]["metric"] == "accuracy"
    assert set(found["tasks"]["stars"]["differences"][1]) == {"value", "low", "high", "p"}


def test_likelihoods_of_other_tokens_have_no_difference(tiny_run, other_run, capsys):
    found = compare([tiny_run, other_run], draws=50)
    assert found.tasks["writer"].differences == (None, None)
    assert found.tasks["stars"].differences[1] is not None
    assert main(["compare", str(tiny_run), str(other_run)]) == 0
    assert "not comparable" in capsys.readouterr().out


def test_a_figure_that_cannot_be_written_is_told_first(tiny_run, tmp_path, capsys):
    path = tmp_path / "nowhere/curves.png"
    assert main(["compare", str(tiny_run), str(tiny_run), "--plot", str(path)]) == 2
    assert "No such file or directory" in capsys.readouterr().err
    assert main(["compare", str(tiny_run), str(tiny_run), "--plot", str(tmp_path)]) == 2
    assert "Is a directory" in capsys.readouterr().err


def test_settings_that_one_run_leaves_out_are_differences():
    task = Task(
        "a", dataset="movie_sentiment", kind="classification", inputs="text", targets="label"
    )
    runs = [
        SimpleNamespace(config=Config(), tasks=(task, dataclasses.replace(task, name="b"))),
        SimpleNamespace(config=Config(), tasks=(dataclasses.replace(task, head="x"),)),
    ]
    found = comparison._different_settings(cast("Any", runs))
    assert found == {"tasks": (["a", "b"], ["a"]), "tasks.a.head": (None, "x")}


def test_one_run_has_nothing_to_be_compared_with(tiny_run, capsys):
    assert main(["compare", str(tiny_run)]) == 2
    assert "name two or more" in capsys.readouterr().err


def test_runs_on_other_data_are_refused(tiny_run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tiny_run, other)
    layout = json.loads((other / "layout.json").read_text())
    layout["sources"] = dict.fromkeys(layout["sources"], "another")
    (other / "layout.json").write_text(json.dumps(layout))
    (other / "digests.json").unlink()
    with (
        pytest.warns(UserWarning, match="older version"),
        pytest.raises(UserError, match="have read other data"),
    ):
        compare([tiny_run, other])

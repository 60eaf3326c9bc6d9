"""Runs side by side: values of texts that sum to those of the split, and what is refused."""

import json
import shutil

import numpy as np
import pytest

from mtljax.cli import main
from mtljax.errors import UserError
from mtljax.studies import compare, draw_comparison, text_states


@pytest.fixture(scope="module")
def other_run(tiny_run, tmp_path_factory):
    """A run of the same tasks with another seed and another weighting, shorter."""
    from tests.conftest import TINY_OPTIONS

    run = tmp_path_factory.mktemp("other") / "run"
    options = [*TINY_OPTIONS, "--seed", "1", "--weighting", "uncertainty", "--steps", "2"]
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
        assert none is None and change is not None
        np.testing.assert_allclose(change.value, second.value - first.value, rtol=1e-4, atol=1e-6)
    figure = draw_comparison([tiny_run, other_run], tmp_path / "curves.png")
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_the_command_prints_tables_and_json(tiny_run, other_run, capsys):
    assert main(["compare", str(tiny_run), str(other_run)]) == 0
    text = capsys.readouterr().out
    assert "differences to the first run" in text
    assert "uncertainty" in text
    assert main(["compare", str(tiny_run), str(other_run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tasks"]["sentiment"]["metric"] == "accuracy"
    assert set(found["tasks"]["stars"]["differences"][1]) == {"value", "low", "high", "p"}


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

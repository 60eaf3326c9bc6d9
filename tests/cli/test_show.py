"""``mtljax show``: what a run says of itself."""

import json
import shutil

import pytest

from mtljax.training import read_metrics
from mtljax.training.reporting.overview import overview, sparkline


def test_a_finished_run(mtljax, tiny_run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = mtljax("show", tiny_run)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    summary = json.loads((tiny_run / "summary.json").read_text())
    assert lines[0] == f"{tiny_run}: 4 steps, the best is {summary['best_step']}"
    assert "            evaluate_every 2" in lines and "            encoder.features 8" in lines
    (loss,) = (line for line in lines if line.startswith("  sentiment loss"))
    values = [line["loss/sentiment"] for line in read_metrics(tiny_run) if line["split"] == "train"]
    assert loss.split()[2] == f"{values[0]:.4g}" and loss.split()[-1] == f"{values[-1]:.4g}"
    assert len(loss.split()[3]) == 4
    tables = [line for line in lines if line.startswith(("  ", "on ", "│")) or "━" in line]
    assert tables and max(map(len, lines[1:-1])) <= 80
    assert lines[-1] == f"next: mtljax train --config {tiny_run}/config.yaml"


def test_a_run_that_is_not_finished(mtljax, tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run", ignore=shutil.ignore_patterns("summary.json"))
    out = mtljax("show", tmp_path / "run").out
    assert "not finished" in out and "best checkpoint" not in out
    found = json.loads(mtljax("show", tmp_path / "run", "--json").out)
    assert (found["finished"], found["best_step"], found["steps"]) == (False, None, 4)
    curve = next(c for c in found["curves"] if (c["task"], c["name"]) == ("stars", "loss"))
    assert curve["steps"] == [1, 2, 3, 4]


def test_settings_are_those_that_differ_from_the_preset(tiny_run):
    found = overview(tiny_run)
    assert found.settings["batch.tokens"] == 512 and "seed" not in found.settings
    assert found.tasks["casing"] == "tagging" and found.preset == "small"


def test_no_run(refused, tmp_path):
    assert "no run there" in refused("show", tmp_path)


@pytest.mark.parametrize("values, width, expected", [((), 5, ""), ((3, 1, 2), 2, "█▁")])
def test_bars(values, width, expected):
    assert sparkline(values, width) == expected

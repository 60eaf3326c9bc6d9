"""A study: its runs, its answer, its report, and that it goes on where it was left."""

import dataclasses
import json
import re
import shlex

import numpy as np
import pytest

from mtljax.cli import main
from mtljax.errors import Diverged, UserError
from mtljax.presets import Config
from mtljax.studies import data_cards, relate, write_report
from mtljax.studies.study import Done, do_runs, study_runs
from mtljax.training.persistence import run_directory

TASKS = """\
tasks:
  sentiment:
    {dataset: amazon_sentiment, kind: classification, inputs: text, targets: label, rate: 0.25}
  stars: {dataset: movie_sentiment, kind: classification, inputs: text, targets: label, rate: 0.75}
"""
OPTIONS = """\
--steps 4 --evaluate-every 2 --log-every 2 --batch.tokens 256 --batch.row-length 32
--tokenizer.num-words 300 --tokenizer.affix-buckets 64 --encoder.embedding 8 --encoder.features 8
--seeds 1
""".split()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The directory of a study by the command, and what it printed as JSON."""
    base = tmp_path_factory.mktemp("study")
    (base / "tasks.yaml").write_text(TASKS)
    return base


def by_command(base, *more):
    arguments = ["relate", "--tasks", str(base / "tasks.yaml"), "--study-dir", str(base / "study")]
    return main([*arguments, *OPTIONS, *more])


def test_a_study_answers_and_goes_on_where_it_was_left(study, capsys):
    assert by_command(study, "--json") == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert answer == json.loads((study / "study/answer.json").read_text())
    assert list(answer["tasks"]) == ["sentiment", "stars"]
    for one in answer["tasks"].values():
        change = one["joint"]["value"] - one["alone"]["value"]
        np.testing.assert_allclose(one["difference"]["value"], change, atol=1e-6)
        assert one["verdict"] in ("helps", "costs", "not told apart")
    assert answer["groups"]["names"] == ["sentiment", "stars"]
    assert np.shape(answer["groups"]["affinity"]) == (2, 2)
    assert "[3/3] alone-stars-seed0: 4 steps" in captured.err
    # Two evaluations of four steps: those that were best at the last are said to be cut short.
    best = [
        json.loads((run / "summary.json").read_text())["best_step"] == 4
        for run in sorted((study / "study").glob("*-seed0"))
    ]
    assert any("best at their last step" in line for line in answer["advice"]) == (sum(best) > 1)
    configs = {
        name: run_directory.read_config(study / f"study/{name}-seed0")
        for name in ("joint", "alone-sentiment", "alone-stars")
    }
    assert configs["joint"].gradients.telemetry
    # Of 8 rows of 32, a quarter and three quarters: as much as the tasks have in the joint run.
    tokens = [configs[name].batch.tokens for name in ("alone-sentiment", "alone-stars")]
    assert tokens == [2 * 32, 6 * 32]

    page = (study / "study/report.html").read_text()
    assert "<h1>Does joint training help 2 tasks?</h1>" in page
    assert "data:image/png;base64," in page
    assert not re.search(r"(src|href)=.?https?:|<script", page)

    assert by_command(study) == 0
    again = capsys.readouterr().out
    assert re.search(r"\[1/3\] joint-seed0: 4 steps, \d s", again)
    assert json.loads((study / "study/answer.json").read_text()) == answer


def test_runs_are_jobs_of_another_scheduler(study, capsys):
    assert by_command(study, "--jobs") == 0
    commands = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in commands] == [
        "joint-seed0",
        "alone-sentiment-seed0",
        "alone-stars-seed0",
    ]
    assert main(shlex.split(commands[1])[1:]) == 0
    assert "[1/1] alone-sentiment-seed0: 4 steps" in capsys.readouterr().out
    assert by_command(study, "--only", "alone-star-seed0") == 2
    assert "did you mean 'alone-stars-seed0'" in capsys.readouterr().err


def test_the_whole_budget_is_that_of_the_joint_run(study):
    layout = run_directory.read_run(study / "study/joint-seed0").layout
    config = Config(batch=dataclasses.replace(Config().batch, tokens=256, row_length=32), steps=9)
    tasks = run_directory.read_run(study / "study/joint-seed0").tasks
    runs = study_runs(config, tasks, layout, 9, seeds=2, budget="whole")
    assert [run.name for run in runs][3:] == [
        "joint-seed1",
        "alone-sentiment-seed1",
        "alone-stars-seed1",
    ]
    assert {run.config.batch.tokens for run in runs} == {256}
    assert [run.config.seed for run in runs] == [0, 0, 0, 1, 1, 1]
    assert all(run.tasks[0].rate is None for run in runs if run.alone)


def test_one_task_has_nothing_to_be_related_to(tmp_path, capsys):
    (tmp_path / "tasks.yaml").write_text("".join(TASKS.splitlines(keepends=True)[:3]))
    assert by_command(tmp_path) == 2
    assert "one task alone" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_runs_that_diverge_are_left_out_and_named(study, monkeypatch):
    def diverging(config, tasks, directory, **options):
        if len(tasks) == 1 and tasks[0].name == "stars":
            raise Diverged("step 3: loss of 'stars' is not finite")
        return run_directory.read_summary(directory)

    monkeypatch.setattr("mtljax.studies.study.train", diverging)
    from mtljax.presets import read_config

    config = read_config((study / "study/joint-seed0/config.yaml").read_text())
    tasks = (study / "study/joint-seed0/tasks.yaml").read_text()
    answer = relate(config, tasks, study / "study", seeds=1, draws=100)
    assert answer.diverged == ("alone-stars-seed0",)
    assert list(answer.tasks) == ["sentiment"]
    page = write_report(answer, study / "study/again.html").read_text()
    assert "Diverged, and left out: alone-stars-seed0" in page
    monkeypatch.setattr(
        "mtljax.studies.study.train", lambda *a, **k: (_ for _ in ()).throw(Diverged("x"))
    )
    with pytest.raises(UserError, match="runs that did not diverge"):
        relate(config, tasks, study / "study", seeds=1)


def test_cards_name_texts_that_other_splits_have(tmp_path):
    from mtljax.data import load_data
    from mtljax.tasks import parse_tasks

    rows = [
        ("good film", "a"),
        ("Bad  film", "b"),
        ("bad film", "b"),
        ("fine", "a"),
        ("so so", "a"),
    ]
    for name, part in {"train": rows[:2], "validation": rows[2:3], "test": rows[2:5]}.items():
        lines = [json.dumps({"text": text, "label": label}) for text, label in part]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    (tmp_path / "other.jsonl").write_text(
        "\n".join(json.dumps({"text": t, "label": "a"}) for t in ("FINE", "poor", "x", "y"))
    )
    task = {"kind": "classification", "inputs": "text", "targets": "label"}
    files = {split: f"{split}.jsonl" for split in ("train", "validation", "test")}
    tasks = parse_tasks(
        {
            "sources": {
                "one": {"path": ".", "splits": files},
                "two": {"path": ".", "splits": dict.fromkeys(files, "other.jsonl")},
            },
            "tasks": {"first": {"dataset": "one", **task}, "second": {"dataset": "two", **task}},
        },
        tmp_path,
    )
    cards = data_cards(load_data(tasks), tasks)
    first = cards["first"]
    assert first.rows == {"train": 2, "validation": 1, "test": 3}
    assert first.repeated == {"validation": 1, "test": 1}
    assert first.in_other_tasks == {"second": 1}
    assert first.classes == 2
    np.testing.assert_allclose(first.balance, 1.0)
    assert cards["second"].repeated == {"validation": 4, "test": 4}
    assert cards["second"].balance == 0.0


def test_each_run_is_told_when_it_is_done(study):
    files = run_directory.read_run(study / "study/joint-seed0")
    runs = study_runs(files.config, files.tasks, files.layout, 4, seeds=1)
    first = next(iter(do_runs(runs, study / "study")))
    assert isinstance(first, Done)
    assert first.summary == run_directory.read_summary(study / "study/joint-seed0")

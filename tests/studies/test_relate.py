"""A study: its runs, its answer, its report, and that it goes on where it was left."""

import dataclasses
import importlib
import json
import re
import shlex

import numpy as np
import pytest

from mtljax.cli import main
from mtljax.errors import Diverged, UserError
from mtljax.inference import load_run
from mtljax.presets import (
    BatchConfig,
    Config,
    OptimizerConfig,
    ParallelConfig,
    RegularizerConfig,
    read_config,
)
from mtljax.studies import (
    CheckedGrouping,
    Difference,
    Interval,
    NewTask,
    Transfer,
    data_cards,
    do_runs,
    plan_study,
    relate,
    write_report,
)
from mtljax.studies.other_tasks import without_patterns_of
from mtljax.studies.own_best import own_best_states
from mtljax.studies.study import Done, by_rows
from mtljax.training.persistence import run_directory
from tests.first_texts import splits, write_first

TASKS = f"""\
sources: {{reviews: {{{splits("reviews")}}}, films: {{{splits("films")}}}}}
tasks:
  sentiment: {{dataset: reviews, kind: classification, inputs: text, targets: label, rate: 0.25}}
  stars: {{dataset: films, kind: classification, inputs: text, targets: label, rate: 0.75}}
"""
KIND = {"kind": "classification", "inputs": "text", "targets": "label"}
OPTIONS = """\
--steps 4 --evaluate-every 2 --log-every 2 --batch.tokens 256 --batch.row-length 32
--tokenizer.num-words 300 --tokenizer.affix-buckets 64 --encoder.kind linear --encoder.embedding 8
--encoder.ngrams 1 --heads.pooling mean --seeds 1
""".split()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The directory of a study by the command, and what it printed as JSON."""
    base = tmp_path_factory.mktemp("study")
    write_tasks(base)
    return base


def write_tasks(base):
    write_first("amazon_sentiment", base / "reviews")
    write_first("movie_sentiment", base / "films")
    (base / "tasks.yaml").write_text(TASKS)


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


def test_tasks_may_be_measured_each_at_its_own_best_step(study, monkeypatch):
    directory = study / "study/joint-seed0"
    steps = {"sentiment": 2, "stars": 4}
    monkeypatch.setattr("mtljax.studies.own_best.best_steps", lambda where, tasks: steps)
    found = own_best_states(directory)
    for task, step in steps.items():
        expected = load_run(directory, step=step).evaluate("test")[task]["accuracy"]
        assert found[task].value() == pytest.approx(expected, abs=1e-6)


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
    config = dataclasses.replace(Config(), batch=BatchConfig(tokens=256, row_length=32), steps=9)
    rate = dataclasses.replace(config.optimizer, rates=("^heads/stars/=2", "^heads=3"))
    penalty = dataclasses.replace(config.regularizer, heads_together=0.1)
    config = dataclasses.replace(config, optimizer=rate, regularizer=penalty)
    runs = plan_study(config, study / "tasks.yaml", seeds=2, budget="whole").runs
    assert [run.name for run in runs][3:] == [
        "joint-seed1",
        "alone-sentiment-seed1",
        "alone-stars-seed1",
    ]
    assert {run.config.batch.tokens for run in runs} == {256}
    assert [run.config.seed for run in runs] == [0, 0, 0, 1, 1, 1]
    assert all(run.tasks[0].rate is None for run in runs if run.alone)
    # What is said of other tasks has no place where there are none.
    joint, sentiment, stars = (run.config for run in runs[:3])
    assert joint.optimizer.rates == stars.optimizer.rates == rate.rates
    assert sentiment.optimizer.rates == ("^heads=3",)
    assert joint.regularizer.heads_together == 0.1
    assert sentiment.regularizer.heads_together == 0


def test_passes_are_a_limit_of_steps():
    tasks = {"tasks": {n: {"dataset": f"{n}_sentiment", **KIND} for n in ("amazon", "movie")}}
    config = Config(steps=1000, evaluate_every=100, batch=BatchConfig(tokens=4096, row_length=64))
    plans = [plan_study(config, tasks, seeds=1, passes=passes) for passes in (0.0, 2.0, 999.0)]
    joint = [plan.runs[0].config for plan in plans]
    assert joint[0] == joint[2]
    assert (joint[0].steps, joint[0].evaluate_every) == (1000, 100)
    data = plans[0].data
    tokens = {name: splits["train"].starts[-1] for name, splits in data.examples.items()}
    per_pass = max(tokens[name] / (rows * 64) for name, rows in data.stages[0].items())
    assert joint[1].steps == round(2 * per_pass) == plans[1].steps
    assert joint[1].evaluate_every == joint[1].steps // 10
    assert {run.config.steps for run in plans[1].runs} == {joint[1].steps}


def test_learned_rates_are_of_the_joint_run_alone(study):
    config = read_config((study / "study/joint-seed0/config.yaml").read_text())
    mixture = dataclasses.replace(config.mixture, schedule="pike", target="stars", every=2)
    gradients = dataclasses.replace(config.gradients, telemetry=False, telemetry_every=1)
    config = dataclasses.replace(config, mixture=mixture, gradients=gradients, steps=100)
    runs = plan_study(config, study / "tasks.yaml", seeds=1).runs
    assert [run.config.mixture.schedule for run in runs] == ["pike", "off", "off"]
    assert {run.config.mixture.target for run in runs[1:]} == {""}
    # Each step reads one group: a task alone has the steps that read it, a quarter of them or more.
    assert [run.config.steps for run in runs] == [100, 25, 75]
    assert {run.config.batch.tokens for run in runs} == {256}


def test_expressions_that_find_other_tasks_alone_are_left_out():
    paths = ["shared/words", "heads/a/kernel", "heads/ab/kernel", "private/b/up"]
    config = dataclasses.replace(
        Config(),
        optimizer=OptimizerConfig(
            frozen=("^heads/a/", "nothing", "("), rates=("private/b=0.5", "kernel=2")
        ),
        regularizer=RegularizerConfig(
            l2=1.0, l2_on="^heads/a/", l1=1.0, l1_on="words", group_lasso=0.5, group_lasso_on="up"
        ),
    )
    left = without_patterns_of(config, paths, ["a", "b"])
    assert left.optimizer.frozen == ("nothing", "(")
    assert left.optimizer.rates == ("kernel=2",)
    assert (left.regularizer.l2, left.regularizer.l1, left.regularizer.group_lasso) == (0, 1, 0)


def test_devices_of_tasks_share_rows_where_there_is_one_task():
    for before, after in [((4, 2), (1, 8)), ((0, 2), (1, 0)), ((1, 3), (1, 3)), ((2, 0), (1, 0))]:
        found = by_rows(ParallelConfig(task=before[0], data=before[1]))
        assert (found.task, found.data) == after


def test_what_cannot_be_answered_is_refused_before_anything_is_trained(tmp_path, capsys):
    write_tasks(tmp_path)
    (tmp_path / "tasks.yaml").write_text("".join(TASKS.splitlines(keepends=True)[:3]))
    assert by_command(tmp_path) == 2
    assert "one task alone" in capsys.readouterr().err
    (tmp_path / "tasks.yaml").write_text(TASKS)
    assert by_command(tmp_path, "--groups", "0") == 2
    assert "groups: must be 1 or more" in capsys.readouterr().err
    assert by_command(tmp_path, "--preset", "linear", "--optimizer.solver", "ridge") == 2
    assert "optimizer.solver 'ridge': a study trains in steps" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_runs_that_diverge_are_left_out_and_named(study, monkeypatch):
    def diverging(config, tasks, directory, **options):
        if len(tasks) == 1 and tasks[0].name == "stars":
            raise Diverged("step 3: loss of 'stars' is not finite")
        return run_directory.read_summary(directory)

    monkeypatch.setattr("mtljax.studies.study.train_in_steps", diverging)
    config = read_config((study / "study/joint-seed0/config.yaml").read_text())
    tasks = (study / "study/joint-seed0/tasks.yaml").read_text()
    answer = relate(config, tasks, study / "study", seeds=1, draws=100)
    assert answer.diverged == ("alone-stars-seed0",)
    assert list(answer.tasks) == ["sentiment"]
    value, gain = Interval(0.5, 0.4, 0.6), Difference(0.03, 0.01, 0.05, 0.01)
    new = NewTask(
        "accuracy", False, (16,), {"tuned": (value,), "alone": (None,)}, {"tuned": (gain,)}
    )
    rows = ((value, value._replace(value=0.25)), (None, value))
    changes = ((None, gain), (None, None))
    of_two = ("sentiment", "stars"), ("accuracy",) * 2, (False,) * 2
    grouping = CheckedGrouping("random", ((("sentiment",), ("stars",)),), None, value)
    answer = answer._replace(
        new_tasks={"sentiment": new},
        transfer=Transfer(*of_two, rows, changes, 1, 2.0),
        checked=(grouping,),
    )
    page = write_report(answer, study / "study/again.html").read_text()
    row = re.search(r"<tr><td>sentiment</td><td>accuracy</td><td>16</td>(.*?)</tr>", page)
    assert row
    assert "50.0 %<br><small>40.0 % to 60.0 %" in row[1]
    assert row[1].endswith("<td>-</td>")
    assert 'background:rgb(51,142,193)">25.0 %<br><small>+3.0 (+1.0 to +5.0)</small>' in page
    row = re.search(r"<td>random</td>.*?</tr>", page)
    assert row
    assert "sentiment | stars</div></td><td>-</td><td>+50.00 %<br>" in row[0]
    assert "Diverged, and left out: alone-stars-seed0" in page
    monkeypatch.setattr(
        "mtljax.studies.study.train_in_steps", lambda *a, **k: (_ for _ in ()).throw(Diverged("x"))
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
    config = read_config((study / "study/joint-seed0/config.yaml").read_text())
    runs = plan_study(config, study / "tasks.yaml", seeds=1).runs
    first = next(iter(do_runs(runs, study / "study")))
    assert isinstance(first, Done)
    assert first.summary == run_directory.read_summary(study / "study/joint-seed0")


def test_all_runs_of_a_study_have_the_tokenizer_of_the_joint_one(study):
    runs = [load_run(study / f"study/{name}-seed0") for name in ("joint", "alone-sentiment")]
    assert len({run.tokenizer.fingerprint for run in runs}) == 1
    assert set(runs[1].layout.outputs) == {"sentiment"}


def test_runs_whose_steps_read_some_groups_alone_have_no_groups(study, monkeypatch):
    """No line of theirs has the inner products of all pairs."""
    config = read_config((study / "study/joint-seed0/config.yaml").read_text())
    lines = [{"split": "train", "step": 1, "loss/sentiment": 1.0}]
    module = importlib.import_module("mtljax.studies.checked_groups")
    monkeypatch.setattr(module, "read_metrics", lambda directory: lines)
    answer = relate(config, study / "tasks.yaml", study / "study", seeds=1, draws=50)
    assert answer.groups is None

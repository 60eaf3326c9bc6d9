"""A search within a budget: what is tried, for how long, and what is found; one is really run."""

import dataclasses
import json
import math

import numpy as np
import pytest

from mtljax.cli import main
from mtljax.cli.train import read_options
from mtljax.errors import Diverged, Preempted, UserError
from mtljax.presets import Config, parse_config, preset
from mtljax.studies import study, tune
from mtljax.studies.halving import Costs, affordable, drawn_settings, rounds_of, shortened
from mtljax.tasks import SENTIMENT_TASKS, load_tasks

CONFIG = dataclasses.replace(preset("linear").config, steps=900, evaluate_every=90)
FIXED, STEP = 2.0, 0.01  # seconds of a run, and of each of its steps


def score_of(config: Config) -> float:
    """Best at twice the learning rate, and the better the longer."""
    return 1 - abs(math.log(config.optimizer.learning_rate / 2e-3)) - 1 / config.steps


@pytest.fixture
def trained(monkeypatch):
    """Stands in for training: the configurations of the runs, by name; a name in `stops` stops."""
    seen, stops = {}, set()

    def train(config, tasks, directory, **options):
        if directory.name in stops:
            stops.remove(directory.name)
            raise Preempted("step 3 is saved")
        seen[directory.name] = config
        directory.mkdir(parents=True, exist_ok=True)
        if directory.name == "round0-01":
            raise Diverged("step 1: the loss is not finite")
        productive = STEP * config.steps
        account = {"wall": 7 + FIXED + productive, "stopped": 7.0, "productive": productive}
        return {"score": score_of(config), "steps": config.steps, "account": account}

    monkeypatch.setattr(study, "train_in_steps", train)
    return seen, stops


def test_settings_that_are_tried():
    drawn = [drawn_settings(CONFIG, SENTIMENT_TASKS, number, seed=3) for number in range(40)]
    assert drawn[0] == (CONFIG, SENTIMENT_TASKS)
    rates = np.array([config.optimizer.learning_rate for config, _ in drawn])
    assert 2e-4 <= rates.min() < 4e-4 and 3e-3 < rates.max() <= 5e-3
    decays = np.array([config.optimizer.weight_decay for config, _ in drawn[1:]])
    assert 5 < (decays == 0).sum() < 22 and decays[decays > 0].min() >= 0.01 and decays.max() <= 3
    dropouts = {config.encoder.embedding_dropout for config, _ in drawn[1:]}
    assert len(dropouts) > 20 and 0 <= min(dropouts) and max(dropouts) <= 0.7
    weights = np.array([[task.weight for task in tasks] for _, tasks in drawn])
    np.testing.assert_allclose(weights.prod(1), 1, rtol=0.02)
    assert weights.max() <= 4 and len({w for w, _ in weights}) > 30
    kept = dataclasses.replace(drawn[5][0], optimizer=CONFIG.optimizer, encoder=CONFIG.encoder)
    assert dataclasses.replace(kept, heads=CONFIG.heads) == CONFIG
    # One task has no other that it could count more than.
    _, (alone,) = drawn_settings(CONFIG, SENTIMENT_TASKS[:1], 8, 0)
    assert alone.weight == 1


@pytest.mark.parametrize("fixed", [0.0, 3.0, 40.0, 900.0])
def test_rounds_that_are_affordable(fixed):
    costs = Costs(fixed, 90.0)

    def cost(count, shares):
        told = 0.0 if len(shares) == 3 else costs.of(1 / 9)
        counts = np.ceil(count / 3.0 ** np.arange(len(shares)))
        return told + sum(counts * [fixed + share * 90 for share in shares])

    ways = [[1 / 9, 1 / 3, 1.0], [1 / 3, 1.0], [1.0]]
    for seconds in (1, 89, 130, 200, 300, 500, 2000, 9000):
        rounds = affordable(costs, seconds, most=27)
        possible = [n for n in range(2, 28) for way in ways if cost(n, way) <= seconds]
        assert bool(rounds) == (fixed + 90 <= seconds)
        assert max(possible, default=1) == (rounds[0].count if rounds else 1)
        if possible:
            assert cost(rounds[0].count, [one.share for one in rounds]) <= seconds
    assert [one.count for one in rounds_of(27)] == [27, 9, 3]


def test_a_part_of_a_run_is_evaluated_as_often():
    part = shortened(CONFIG, 1 / 3)
    assert (part.steps, part.evaluate_every, part.epochs) == (300, 30, 0)
    assert shortened(CONFIG, 1.0) == CONFIG
    assert shortened(preset("finetune").config, 1 / 3).epochs == 1


def test_the_best_is_found_within_the_budget(trained, tmp_path):
    seen, _ = trained
    found = tune(CONFIG, SENTIMENT_TASKS, tmp_path, seconds=55)
    # 9, 3 and 1 runs of 3, 5 and 11 s, of which one diverged at once.
    assert found.seconds == pytest.approx(8 * 3 + 3 * 5 + 11, abs=2) and len(seen) == 13
    assert len(found.trials) == 13
    firsts = sorted(
        (n for n in range(9) if n != 1), key=lambda n: -score_of(seen[f"round0-{n:02d}"])
    )
    seconds = {trial.settings for trial in found.trials if trial.share == pytest.approx(1 / 3)}
    assert seconds == set(firsts[:3]) and found.best.settings == firsts[0]
    assert found.config == seen[found.best.name]
    assert found.best.score == score_of(found.config) and found.given.settings == 0
    assert found.given.share == (1 if firsts[0] == 0 else 1 / 3 if 0 in firsts[:3] else 1 / 9)
    assert parse_config((tmp_path / "best.yaml").read_text()) == found.config
    assert load_tasks(tmp_path / "tasks.yaml") == found.tasks
    # As the command says, the run can be repeated.
    again = read_options(["--config", str(tmp_path / "best.yaml")])
    assert again == (again[0], found.tasks) and again[0].config == found.config


def test_it_goes_on_where_it_was_left(trained, tmp_path):
    seen, stops = trained
    whole = tune(CONFIG, SENTIMENT_TASKS, tmp_path / "whole", seconds=60)
    stops |= {"round0-03", "round1-00", whole.best.name} & {trial.name for trial in whole.trials}
    for _ in list(stops):
        with pytest.raises(Preempted):
            tune(CONFIG, SENTIMENT_TASKS, tmp_path / "parts", seconds=60)
    assert not stops
    seen.clear()
    again = tune(CONFIG, SENTIMENT_TASKS, tmp_path / "parts", seconds=60)
    assert [trial[:4] for trial in again.trials] == [trial[:4] for trial in whole.trials]
    assert (again.config, again.tasks, again.best) == (whole.config, whole.tasks, whole.best)
    assert list(seen) == [whole.best.name]  # what was done is not done again
    other = dataclasses.replace(CONFIG, seed=7)
    with pytest.raises(UserError, match="holds a search of another configuration; choose"):
        tune(other, SENTIMENT_TASKS, tmp_path / "parts", seconds=60)
    with pytest.raises(UserError, match="holds a search of other tasks; choose"):
        tune(CONFIG, SENTIMENT_TASKS[:1], tmp_path / "parts", seconds=60)
    (tmp_path / "parts/search.json").write_text('{"asked": 3')
    with pytest.raises(UserError, match="search.json is damaged"):
        tune(CONFIG, SENTIMENT_TASKS, tmp_path / "parts", seconds=60)


def test_a_larger_budget_goes_on_with_what_is_done(trained, tmp_path):
    """Whatever was asked for between; the answer is that of one search with that budget."""
    seen, _ = trained
    whole = tune(CONFIG, SENTIMENT_TASKS, tmp_path / "whole", seconds=60)
    with pytest.raises(UserError, match="too few"):
        tune(CONFIG, SENTIMENT_TASKS, tmp_path / "parts", seconds=2)
    tune(CONFIG, SENTIMENT_TASKS, tmp_path / "parts", seconds=60, most=3)
    seen.clear()
    found = tune(CONFIG, SENTIMENT_TASKS, tmp_path / "parts", seconds=60)
    assert (found.config, found.best) == (whole.config, whole.best)
    assert "round0-00" not in seen and len(seen) > 10
    seen.clear()
    tune(CONFIG, SENTIMENT_TASKS, tmp_path / "parts", seconds=60, most=3)
    assert not seen


def test_a_budget_that_is_too_small(trained, tmp_path):
    with pytest.raises(UserError, match="budget: 10 s are too few for one whole run.* 11 s here"):
        tune(CONFIG, SENTIMENT_TASKS, tmp_path / "none", seconds=10)
    # One whole run is of the settings that were given.
    found = tune(CONFIG, SENTIMENT_TASKS, tmp_path / "one", seconds=12)
    assert found.config == CONFIG and found.best == found.given and len(found.trials) == 2


def test_runs_that_take_longer_than_the_first_one_said(trained, tmp_path, monkeypatch):
    fast = study.train_in_steps

    def slow(config, tasks, directory, **options):
        summary = fast(config, tasks, directory, **options)
        if directory.name != "round0-00":
            summary["account"]["wall"] += 20
        return summary

    monkeypatch.setattr(study, "train_in_steps", slow)
    found = tune(CONFIG, SENTIMENT_TASKS, tmp_path, seconds=100)
    assert len(found.trials) < 13 and found.best.share == 1
    assert found.seconds <= 110


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--budget 30", "--budget '30': expected a time such as 90s, 30m or 2h30m"),
        ("--budget 0m", "--budget '0m': expected"),
        ("--settings 1", "settings: must be between 2 and 10,000, got 1"),
        ("--steps 0", "steps: a search needs some"),
        ("--preset linear --optimizer.solver ridge", "optimizer.solver 'ridge': makes no steps"),
    ],
)
def test_what_cannot_be_searched(arguments, message, capsys, tmp_path):
    directory = tmp_path / "search"
    assert main(["tune", *arguments.split(), "--search-dir", str(directory)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"mtljax tune: {message}") and captured.err.count("\n") == 1
    assert captured.out == "" and not directory.exists()


OPTIONS = """\
--preset linear --encoder.ngram-buckets 64 --encoder.ngrams 1 --encoder.embedding 4
--encoder.features 4 --batch.tokens 256 --batch.row-length 32 --tokenizer.affix-buckets 16
--data.samples 20 --steps 9 --evaluate-every 9 --budget 1h --settings 2 --cache-dir off --json
""".split()


def test_the_command(capsys, tmp_path):
    fields = "dataset: amazon_sentiment, kind: classification, inputs: text, targets: label"
    (tmp_path / "tasks.yaml").write_text(f"tasks: {{a: {{{fields}}}}}")
    directory = tmp_path / "search"
    arguments = ["tune", "--tasks", str(tmp_path / "tasks.yaml"), "--search-dir", str(directory)]
    assert main([*arguments, *OPTIONS]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert [trial["share"] for trial in found["trials"]] == pytest.approx([1 / 9, 1, 1])
    summary = json.loads((directory / found["best"]["name"] / "summary.json").read_text())
    assert summary["score"] == found["best"]["score"] and summary["steps"] == 9
    kept = (directory / found["best"]["name"] / "config.yaml").read_text()
    assert parse_config(kept) == parse_config((directory / "best.yaml").read_text())
    assert "round2-01: 100% of the steps" in captured.err and "train --config" in captured.err
    assert main([*arguments, *OPTIONS]) == 0
    assert json.loads(capsys.readouterr().out) == found

"""A search of rates: which runs, what it proposes, and that it goes on; nothing is trained here."""

import dataclasses
import json

import numpy as np
import pytest

from mtljax.cli import main
from mtljax.errors import Diverged, UserError
from mtljax.mixtures import drawn_rates
from mtljax.studies import mixture_runs, search_mixture, study
from mtljax.tasks import load_tasks
from tests.tiny_models import make as make
from tests.tiny_models import plain as plain
from tests.tiny_models import source as source
from tests.tiny_models import tasks as tasks
from tests.tiny_models import tiny as tiny
from tests.tiny_models import unaveraged as unaveraged


@pytest.fixture
def given(make, unaveraged, tasks):
    chosen = (tasks["label"], tasks["grade"], dataclasses.replace(tasks["number"], max_length=5))
    return unaveraged, chosen, make(unaveraged, chosen)[1]


def test_runs_differ_in_their_rates_alone(given):
    config, chosen, data = given
    runs = mixture_runs(config, chosen, data, count=5, seed=2)
    prior = [data.rates()[group.name] for group in data.groups]
    for run, rates in zip(runs, drawn_rates(5, prior, seed=2), strict=True):
        assert [task.rate for task in run.tasks] == [rates[0], rates[0], rates[1]]
        assert [dataclasses.replace(task, rate=None) for task in run.tasks] == list(chosen)
        assert run.config == dataclasses.replace(
            config, mixture=dataclasses.replace(config.mixture, subset=1)
        )
    assert len({run.name for run in runs}) == 5
    # Rates stand in for numbers of texts a step, which a task may name in place of its rate.
    counted = tuple(dataclasses.replace(task, batch_size=4) for task in chosen)
    again = mixture_runs(config, counted, data, count=5, seed=2)
    assert [run.tasks for run in again] == [run.tasks for run in runs]


def test_it_proposes_the_rates_with_the_lowest_loss(given, monkeypatch, tmp_path):
    seen = []

    def train(config, tasks, directory, **options):
        seen.append(directory.name)
        if directory.name == "mixture-3":
            raise Diverged("step 1: the loss is not finite")
        rate = tasks[-1].rate
        found = {"label": 1.0, "grade": 2.0, "number": (rate - 0.7) ** 2}
        return {"tasks": {name: {"validation": {"loss": loss}} for name, loss in found.items()}}

    monkeypatch.setattr(study, "train_in_steps", train)
    found = search_mixture(*given, tmp_path, count=30, seed=1)
    assert seen == [f"mixture-{number}" for number in range(30)]
    assert found.rates.shape == (29, 2) and found.losses.shape == (29,)
    assert found.by_task["number"] == pytest.approx(0.7, abs=0.03)
    assert found.by_task["label"] == found.by_task["grade"] == pytest.approx(0.3, abs=0.03)
    alone = search_mixture(*given, tmp_path, count=30, seed=1, target="number")
    np.testing.assert_allclose(3 * found.losses - 3, alone.losses, atol=1e-12)


def test_the_command_writes_tasks_with_the_rates(monkeypatch, tmp_path, capsys):
    for name in ("first", "second"):
        lines = (f'{{"text": "{name} text {i}", "label": "{i % 2}"}}' for i in range(8))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    task = "{dataset: NAME, kind: classification, inputs: text, targets: label}"
    entries = (f"  {name}: {task.replace('NAME', name)}" for name in ("first", "second"))
    sources = (f"  {name}: {{path: {tmp_path}/{name}.jsonl}}" for name in ("first", "second"))
    file = tmp_path / "tasks.yaml"
    file.write_text("\n".join(["sources:", *sources, "tasks:", *entries]))

    def train(config, tasks, directory, **options):
        losses = {task.name: (tasks[0].rate - 0.3) ** 2 for task in tasks}
        values = {name: {"validation": {"loss": loss}} for name, loss in losses.items()}
        return {"tasks": values, "steps": config.steps}

    monkeypatch.setattr(study, "train_in_steps", train)
    command = ["mixture", "--tasks", file, "--search-dir", tmp_path / "found", "--preset", "linear"]
    command += ["--runs", "30", "--batch.row-length", "16", "--cache-dir", "off", "--json"]
    assert main([str(word) for word in command]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["rates"]["first"] == pytest.approx(0.3, abs=0.03) and found["runs"] == 30
    written = load_tasks(tmp_path / "found" / "tasks.yaml")
    assert {task.name: task.rate for task in written} == found["tasks"]
    assert "[30/30] " in err and f"next: mtljax train --tasks {found['file']}" in err


def test_what_cannot_be_searched(given, make, tmp_path, tasks):
    config, chosen, data = given
    with pytest.raises(UserError, match="2 input groups need 3, got 2"):
        mixture_runs(config, chosen, data, count=2)
    with pytest.raises(UserError, match="target 'nothing': unknown"):
        search_mixture(config, chosen, data, tmp_path, count=4, target="nothing")
    one = (tasks["label"], tasks["grade"])
    with pytest.raises(UserError, match="nothing to mix"):
        mixture_runs(config, one, make(config, one)[1], count=4)
